"""The last batch of each epoch is smaller than the others, and only its loss is off.

What it sees:
    Batch size and loss of the last batch of every epoch, against the batches right before it.

Why it matters:
    The mean over 5 samples strays sqrt(64/5) = 3.6 times as far as the mean over 64: a spike at the end of each epoch that
    means nothing, yet moves the level before the boundary. With `reduction="sum"` the loss and the gradient shrink
    with the batch, so that the last step of each epoch is a smaller step: that is a fault.

How it decides:
    Equal sizes veto it, and a criterion that takes the mean vetoes a sum. The distance of the last batch from the m before it
    is compared, over all epochs, with the run's own noise scaled by sqrt(N/n + 1/m). In line: an artifact, reported where it
    is seen or where a jump goes once the last batches are set to the level before them. Off by the factor n/N, in epoch after
    epoch or over all of them: the loss is a sum; where the noise leaves both open, that is said. Off to one side otherwise:
    the loss depends on the size of the batch. And where the loss is up after the boundaries: the step taken on so few
    samples, if its gradient is larger than usual or the rise follows it.

What to try:
    `drop_last=True`, or a mean that is weighted by samples; for a sum, the mean with an LR that is larger by as much.

When it is wrong:
    Under a fixed order the last batch holds the same samples each time, so a bias tells nothing (read `repeated_order`). Skewed
    losses make most small batches lower than the mean; a bias must exceed twice the scaled noise, and a sum is claimed from
    20 samples on. `python -m demo.healthy` counts false alarms. A jump that does not go
    with the last batch is another cause.

References:
    Standard error of a mean of n samples, sigma / sqrt(n). PyTorch documentation, `DataLoader(drop_last=...)`.
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import around, excess, jumps, share_without, typical_excess, with_loss
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.last_batches import LastBatches, Proportion, is_sum, last_batches, proportion
from tb_losslens.analysis.last_step import step_on_few
from tb_losslens.analysis.loader_repair import repair_last_batch
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run

ID = "partial_last_batch"
REQUIRES: tuple[str, ...] = ("loss", "epoch", "batch_size")


def find(
    context: Context,
    *,
    small: float = 0.9,
    regular: float = 0.8,
    seen: float = 2.5,
    matters: float = 1.5,
    tiny: float = 0.25,
    in_line: float = 2.0,
    one_sided: float = 2.0,
    least_gone: float = 0.3,
) -> Outcome:
    """Decides from the last batches of all epochs together.

    Args:
        context: the run and its measurement.
        small: a last batch below this part of the usual size is partial.
        regular: at least this part of all batches has the usual size, else sizes vary by design.
        seen: the typical last batch strays this many times as far as a full one: visible on the curve.
        matters: below this it cannot be why a boundary moves.
        tiny: below this part of the usual size its own step may throw the weights off.
        in_line: it strays at most this many times as far as its size allows.
        one_sided: median distance, in standard errors, beyond which the loss depends on the size.
        least_gone: part of a jump that must go with the last batch.
    """
    run = context.run
    sizes = run.float("batch_size")
    usual = median(sizes)
    if not usual > 0:
        return Skipped(ID, "the batch size is unknown", "train_loader = writer.wrap(train_loader)")
    if float(np.nanmin(sizes)) == float(np.nanmax(sizes)):
        return Checked(ID, f"every batch has {usual:,.0f} samples")
    if np.mean(sizes[np.isfinite(sizes)] == usual) < regular:
        return Checked(ID, f"batch sizes vary all along ({np.nanmin(sizes):,.0f} to {np.nanmax(sizes):,.0f} samples)")
    last = last_batches(context, usual, small)
    if len(last.row) < 2:
        return Checked(ID, f"{plural(len(last.row), 'epoch')} ended with a partial batch; two are needed to judge")
    raw = median(np.abs(last.off / last.alike)) / 0.6745
    scaled = median(np.abs(last.off / last.scaled)) / 0.6745
    side = median(last.off / last.error)
    n = median(last.size)
    said = (
        f"the last batch has {n:,.0f} of {usual:,.0f} samples; its loss strays {number(raw, 2)} times as far as that of a full "
        f"batch, {number(scaled, 2)} times as far as {plural(round(n), 'sample')} would"
    )
    constant_samples = context.found("repeated_order") is not None
    samples = n if constant_samples else float(last.size.sum())
    whole = proportion(last, usual, samples=samples)
    if not _is_mean_by_definition(run) and (is_sum(last, usual, samples=samples) or whole.is_sum()):
        return _fault(context, last, usual, said, summed=True)
    same_side = max(float((last.off > 0).mean()), float((last.off < 0).mean()))
    if len(last.row) >= 6 and abs(side) > one_sided and same_side >= 0.95 and not constant_samples:
        return _fault(context, last, usual, said, summed=False)
    gone = _gone(context, last, least_gone) if raw >= matters else ()
    if not gone and context.pooled.direction > 0 and n <= tiny * usual:
        kicked = step_on_few(context, last, usual)
        if kicked is not None:
            return kicked
    if scaled > in_line or (not gone and raw < seen):
        return Checked(ID, said)
    return _artifact(context, last, usual, said, gone, whole=whole)


def _is_mean_by_definition(run: Run) -> bool:
    """True if the loss is what a criterion returned that takes the mean."""
    criterion = run.facts.get("criterion")
    return isinstance(criterion, dict) and criterion.get("reduction") == "mean" and run.facts.get("loss_source") == "criterion"


def _gone(context: Context, last: LastBatches, least_gone: float, *, least_of_all: float = 0.7) -> tuple[int, ...]:
    """Boundaries whose jump goes by `least_gone` once the last batch is at the level before it.

    Significant ones one by one; or, where all boundaries together lose their direction and `least_of_all` of their typical
    jump, all that went that way. What stays is not a matter of that batch's loss.
    """
    ends = {int(row) + 1 for row in last.row}
    at = [b for b in context.boundaries if b.batch in ends]
    direction = context.pooled.direction
    if not at or not (direction or any(b.significant for b in at)):
        return ()
    again, pooled = context.measure(with_loss(context.run, _levelled(context, last)))
    less = {b.index: abs(excess(again[b.index])) < (1 - least_gone) * abs(excess(b)) for b in at}
    alone = {b.index for b in at if b.significant and not again[b.index].significant and less[b.index]}
    if direction and not pooled.direction:
        before, after = typical_excess(at), typical_excess(again[b.index] for b in at)
        if after / before < 1 - least_of_all:
            alone |= {b.index for b in at if excess(b) * direction > 0}
    return tuple(sorted(alone))


def _levelled(context: Context, last: LastBatches) -> Floats:
    """The loss with each small last batch at the level of the batches before it."""
    loss: Floats = context.run.loss.copy()
    loss[last.row] = last.level
    return loss


def _fault(context: Context, last: LastBatches, usual: float, said: str, *, summed: bool) -> Finding:
    run = context.run
    ends = {int(row) + 1 for row in last.row}
    at = tuple(b.index for b in context.boundaries if b.batch in ends)
    n = median(last.size)
    share = share_without(context, _levelled(context, last), at) if at and jumps(context, at) else None
    ratio = median((last.off + last.level) / last.level)
    shown = (int(last.row[-1]) - 5, int(last.row[-1]) + 1)
    evidence = [
        Evidence(f"the last batch has {n:,.0f} of {usual:,.0f} samples ({percent(n / usual)})", "batch_size", shown),
        Evidence(
            f"its loss is {percent(ratio)} of the level before it, in the median of {plural(len(last.row), 'epoch')}",
            "loss",
            shown,
        ),
    ]
    criterion = run.facts.get("criterion")
    reduction = criterion.get("reduction") if isinstance(criterion, dict) else None
    if summed and reduction is not None:
        evidence.append(Evidence(f"the criterion has reduction={reduction!r}"))
    if not summed:
        evidence.append(Evidence(said, "loss", shown))
    few = f"{n:,.0f} instead of {usual:,.0f} samples"
    text = (
        f"The loss is a sum over the batch: with {few} it shrinks in proportion, and so does the gradient."
        if summed
        else f"The loss depends on how many samples are in the batch: with {few} it is off to one side."
    )
    repaired = (
        "loss = criterion(output, target) / len(target)     # weights, label_smoothing, ignore_index stay as they are\n"
        f"# the gradient is then {usual:.0f} times smaller: with SGD the steps stay as long as they are by\n"
        f'for group in optimizer.param_groups:     # Adam needs no change\n    group["lr"] *= {usual:.0f}'
    )
    return Finding(
        ID,
        "fault",
        "proved" if summed and reduction == "sum" else "likely",
        "The loss depends on the batch size",
        text,
        detail="sum" if summed else "depends_on_size",
        score=0.85 if summed else 0.6,
        boundaries=at,
        steps=tuple(int(s) for s in run.step[last.row[:50]]),
        share=share,
        explains_jump=(share or 0.0) > 0.3,
        evidence=tuple(evidence),
        against=() if share is None or share > 0.3 else (Evidence("the jump stays without the last batch", "loss"),),
        advice="Divide by the number of samples and raise the LR by as much, or leave that batch out with `drop_last=True`."
        if summed
        else "Take the mean over the samples, or `drop_last=True`, so that each step weighs the same.",
        fix=repaired if summed else repair_last_batch(context, usual, n),
        confirm="Compute the loss of one batch of the usual size, and of half of it: it must not halve."
        if summed
        else f"Compute the loss of one batch, then of its first {n:,.0f} samples, several times: the means must agree.",
    )


def _artifact(
    context: Context, last: LastBatches, usual: float, said: str, gone: tuple[int, ...], *, whole: Proportion
) -> Finding:
    n = median(last.size)
    shown = around(context.boundaries[gone[0]]) if gone else (int(last.row[-1]) - 5, int(last.row[-1]) + 1)
    evidence = [Evidence(said, "loss", shown), Evidence(f"{n:,.0f} of {usual:,.0f} samples", "batch_size", shown)]
    against = []
    share = None
    if whole.is_mean():
        kept = f"all epochs together its loss is {percent(whole.ratio)} of the level before it (±{percent(whole.error)})"
        evidence.append(Evidence(f"{kept}; if the loss were a sum, it would be {percent(whole.if_sum)}", "loss"))
    else:
        cannot = f"{plural(len(last.row), 'such batch')} cannot tell whether the loss is a mean or a sum over the batch"
        against.append(Evidence(f"{cannot}: a sum would make each of them about {percent(whole.if_sum)} as large", "loss"))
    if gone:
        # all boundaries where the direction is gone: those that went that way are a selection
        ends = {int(row) + 1 for row in last.row}
        every = [b.index for b in context.boundaries if b.batch in ends]
        alone = any(context.boundaries[k].significant for k in gone)
        share = share_without(context, _levelled(context, last), gone if alone else every)
        evidence.append(
            Evidence(f"with that batch at the level before it, nothing stands out at {plural(len(gone), 'boundary')}")
        )
    else:
        against.append(Evidence("no jump between the levels before and after a boundary depends on it", "loss"))
    return Finding(
        ID,
        "artifact",
        "likely" if gone else "possible",
        "A small last batch",
        f"The last batch of an epoch has {n:,.0f} of {usual:,.0f} samples, and its loss strays as far as that allows."
        + (" The training is fine." if gone and whole.is_mean() else ""),
        score=0.8 if gone else 0.4,
        boundaries=gone,
        steps=tuple(int(s) for s in context.run.step[last.row[:50]]),
        share=share,
        explains_jump=bool(gone),
        evidence=tuple(evidence),
        against=tuple(against),
        advice="Leave the ragged batch out, or weight the mean by samples when reading the curve.",
        fix=repair_last_batch(context, usual, n),
        confirm="Train two epochs with drop_last=True: the point at the end of each epoch must be gone.",
    )
