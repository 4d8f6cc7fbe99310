"""Puts broken batches into a finding: where, which samples, what it does to the jumps, and code to look at them."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import share_without
from tb_losslens.analysis.finding import Evidence, Finding, Strength
from tb_losslens.analysis.orders import ids_in
from tb_losslens.analysis.outliers import local_level
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.text import plural, some
from tb_losslens.events.columns import how_to_record


def bad_batch_finding(
    context: Context,
    groups: list[tuple[int, int]],
    *,
    detail: str,
    strength: Strength,
    title: str,
    text: str,
    evidence: list[Evidence],
    against: list[Evidence] | None = None,
    missing: tuple[str, ...] = (),
    ids: list[int] | None = None,
) -> Finding:
    """The finding for the batches `groups` (first and last row of each span).

    It explains the significant jumps whose windows hold such a batch; their share is what goes with its loss at the level
    around it. `ids` are the samples to list, by default those of the first group.
    """
    run = context.run
    rows = np.concatenate([np.arange(a, b + 1) for a, b in groups])
    level, _ = local_level(run.loss)
    loss: Floats = run.loss.copy()
    loss[rows] = level[rows]
    near = tuple(b.index for b in context.boundaries if b.significant and any(a - b.m < b.batch <= z + b.m for a, z in groups))
    samples = ids if ids is not None else ids_in(run, groups[0][0], groups[0][1] + 1)
    if samples:
        evidence = [*evidence, Evidence(f"sample ids: {some(samples, 12)}", "sample_ids", (groups[0][0], groups[0][1] + 1))]
    else:
        missing = (*missing, how_to_record("sample_ids"))
    steps = [int(run.step[row]) for group in groups[:25] for row in sorted({*group})]
    return Finding(
        "bad_batch",
        "fault",
        strength,
        title,
        text,
        detail=detail,
        score={"proved": 0.95, "likely": 0.85, "possible": 0.4}[strength],
        boundaries=near,
        steps=tuple(steps),
        share=share_without(context, loss, near) if near else None,
        evidence=tuple(evidence),
        against=tuple(against or ()),
        missing=tuple(dict.fromkeys(missing)),
        advice="Look at these samples; clean or drop them. A step whose loss is far out can be skipped meanwhile.",
        fix=_fix(context, groups[0], samples, detail),
        confirm=f"Run the batch of step {run.step[groups[0][0]]:,} again alone: its loss must stand out with any weights.",
    )


def _fix(context: Context, group: tuple[int, int], samples: list[int], detail: str) -> str:
    first, last = context.run.step[group[0]], context.run.step[group[1]]
    if detail == "nonfinite":
        return f"if not torch.isfinite(loss):     # first at step {first}\n    optimizer.zero_grad()\n    continue"
    if samples:
        look = "    x, y = dataset[i]\n    print(i, x.float().mean(), x.float().std(), y)"
        return f"for i in {samples[:40]}:\n{look}"
    return f"if {first} <= step <= {last}:\n    torch.save((x, y), f'batch_{{step}}.pt')     # and look at them"


def shown_around(loss: Floats, group: tuple[int, int], *, beside: int = 20) -> tuple[int, int]:
    """The rows of a span with some beside it, for `Evidence.span`."""
    return max(0, group[0] - beside), min(len(loss), group[1] + 1 + beside)


def in_words(context: Context, groups: list[tuple[int, int]]) -> str:
    """The batches in words, as "Batches 500 to 519" or "Batch 7 and 2 other spans"; steps as the user counts them."""
    step = context.run.step
    first, last = groups[0]
    said = f"Batch {step[first]:,}" if first == last else f"Batches {step[first]:,} to {step[last]:,}"
    others = len(groups) - 1
    return f"{said} and {plural(others, 'other span')}" if others else said
