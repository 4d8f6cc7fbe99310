"""The step that is taken on the few samples of a ragged last batch, as what lifts the loss after it."""

from __future__ import annotations

from tb_losslens.analysis.content import sorted_content
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import around, excess
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.last_batches import LastBatches, gradient_of_last
from tb_losslens.analysis.loader_repair import repair_last_batch
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number


def step_on_few(
    context: Context, last: LastBatches, usual: float, *, least_ratio: float = 1.5, least_rank: float = 0.5, level: float = 0.05
) -> Finding | None:
    """The finding where that step has a larger gradient than those before it, or the rise after it follows its size.

    None where the rise does not follow it and position in the epoch tells the content: what is at the two ends of the epoch
    differs then, and a larger gradient belongs to any few samples.
    """
    ends = {int(row) + 1 for row in last.row}
    at = [b for b in context.boundaries if b.batch in ends]
    ratio, rank, p = gradient_of_last(context.run, at)
    follows = rank >= least_rank and p < level
    if 2 * len(at) <= len(context.boundaries) or not (ratio >= least_ratio or follows):
        return None
    if not follows and sorted_content(context.run, context.epochs):
        return None
    n = median(last.size)
    span = around(at[-1])
    evidence = [
        Evidence(f"the last step of an epoch is taken on {n:,.0f} of {usual:,.0f} samples", "batch_size", span),
        Evidence(
            f"its gradient norm is {number(ratio, 2)} times that of the steps before it (root mean square)", "grad_norm", span
        ),
    ]
    if follows:
        evidence.append(
            Evidence(f"the larger it is, the more the loss rises after it (rank correlation {number(rank, 2)})", "loss")
        )
    return Finding(
        "partial_last_batch",
        "fault",
        "likely" if follows and ratio >= least_ratio else "possible",
        "The step on a small last batch",
        f"The last step of each epoch is taken on {n:,.0f} of {usual:,.0f} samples, and the loss is up right after it.",
        detail="step",
        score=0.7 if follows else 0.5,
        boundaries=tuple(b.index for b in at if excess(b) > 0),
        steps=tuple(int(s) for s in context.run.step[last.row[:50]]),
        evidence=tuple(evidence),
        against=() if follows else (Evidence("from boundary to boundary the rise does not follow that gradient", "loss"),),
        advice="Leave the ragged batch out of training: its step is as long as the others but points almost anywhere.",
        fix=repair_last_batch(context, usual, n),
        confirm="Train some epochs with drop_last=True: the rise after each boundary must be gone.",
    )
