"""Rises of the loss inside an epoch that last longer than a spike, and that nothing explains."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.bad_rows import loss_distance
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.cuts import measure_rows
from tb_losslens.analysis.explain import boundaries_that_jump
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.inside import place_of
from tb_losslens.analysis.outliers import loss_level, spans
from tb_losslens.analysis.stats import finite, median, moving_mean
from tb_losslens.analysis.text import number, plural, some, times
from tb_losslens.analysis.unexplained import missing_lines


def surges(
    context: Context, *, least: float = 10.0, fold: float = 2.0, shortest: int = 10, untrained: int = 3, kick: int = 10
) -> list[Finding]:
    """One finding for each stretch of batches whose loss lies far above that around it, the first three.

    So many batches in a row are no accident of their samples, however heavy the tail of single losses: the onset is judged, as
    a boundary is, and not the length.

    Args:
        context: the run and what was decided before.
        least: robust standard deviations above the losses around.
        fold: times the level around.
        shortest: batches; what is shorter is a spike (unexplained.py).
        untrained: it does not begin within so many batches of the run.
        kick: batches before it in which a step that another finding names may have caused it.
    """
    run = context.run
    level, _ = loss_level(run)
    with np.errstate(invalid="ignore"):
        high = (loss_distance(run) >= least) & (run.loss >= level + (fold - 1) * np.abs(level))
    groups = [(a, b) for a, b in spans(np.flatnonzero(high)) if a >= untrained and b - a + 1 > shortest]
    groups = [(a, b) for a, b in groups if not _named(context, a - kick, b)][:3]
    if not groups:
        return []
    epoch = int(np.median([len(e) for e in context.epochs])) if context.epochs else len(run)
    onsets = measure_rows(run.loss, [a for a, _ in groups], reach=max(60, epoch), others=boundaries_that_jump(context))
    return [
        _surge(context, group) for group, cut in zip(groups, onsets, strict=True) if cut.clear and min(cut.jump, cut.excess) > 0
    ]


def _named(context: Context, first: int, last: int) -> bool:
    """True if a finding has a step at these rows, a boundary moved right before or in them, or the loss stops being finite."""
    run = context.run
    steps = set(run.step[max(0, first) : last + 1].tolist())
    if any(isinstance(o, Finding) and steps & set(o.steps) for o in context.earlier):
        return True
    if any(b.significant and first <= b.batch <= last for b in context.boundaries):
        return True
    return not bool(np.isfinite(run.loss[first : last + 11]).all())


def _surge(context: Context, group: tuple[int, int]) -> Finding:
    run, (first, last) = context.run, group
    step = int(run.step[first])
    before, peak = median(run.loss[max(0, first - 20) : first]), float(np.max(finite(run.loss[first : last + 1])))
    back = _back(context, first, before)
    shown = (max(0, first - 20), min(len(run), (last if back is None else first + back) + 21))
    rise = f"from {number(before)} to {number(peak)}" + (f" ({times(peak / before)})" if before > 0 else "")
    long = f"for {plural(last - first + 1, 'batch')} it lies far above those around"
    evidence = [Evidence(f"the loss goes {rise} at step {step:,}; {long}", "loss", shown)]
    came = "it does not come back" if back is None else f"three quarters of the rise are gone after {plural(back, 'batch')}"
    evidence.append(Evidence(came, "loss", shown))
    if run.has("sample_ids"):
        ids = [int(i) for row in range(first, min(first + 3, last + 1)) for i in run.ragged["sample_ids"][row][:16]]
        if ids:
            evidence.append(Evidence(f"samples {some(ids, 8)} are in the first of them", "sample_ids", (first, first + 3)))
    return Finding(
        "unknown", "unknown", "possible", f"The loss rises at {place_of(run, step)}",
        f"The loss goes {rise} at {place_of(run, step, ',')} and {came}. Nothing that was recorded explains it.",
        detail="step_up" if back is None else "transient", score=0.6,
        steps=tuple(int(s) for s in run.step[first : last + 1][:1000]), explains_jump=False, evidence=tuple(evidence),
        missing=missing_lines(context),
        advice=f"Look at the samples and targets from step {step:,} on, and at what the code did there: targets, a loss term, "
        "weights that were loaded.",
        confirm=f"Run the batches from step {step:,} on again with weights from before it: high at once means their samples or "
        "targets; high only after some steps means that the steps did it.",
    )  # fmt: skip


def _back(context: Context, first: int, before: float, *, m: int = 5, left: float = 0.25) -> int | None:
    """Batches until the mean of `m` has lost all but `left` of the rise after its top; None if it never does."""
    means = moving_mean(context.run.loss[first:], m)
    if not np.isfinite(means).any():
        return None
    top = int(np.nanargmax(means))
    low = np.flatnonzero(means[top:] <= before + left * (float(means[top]) - before))
    return top + int(low[0]) if len(low) else None
