"""The logged loss is the mean since the epoch (or the training) began, not the loss of the batch.

What it sees:
    Within an epoch the curve gets smoother and smoother, and at each boundary it starts again at the loss of one batch.

Why it matters:
    The mean of an epoch drags its early, higher losses along; when it restarts, the curve drops (or rises) although
    the training did nothing at all. Progress bars, Keras and many hand-written loops log this. It is the first
    thing to exclude.

How it decides:
    With the raw loss beside the logged one (column `logged_loss`): an identity, to the precision of float32.
    Without: let i count batches since it began, and `u_i = (i x_i - j x_j) / (i - j)` for logged neighbours j < i.
    If x is a mean, its second differences shrink as 1/i (their slope on log i is below `slope`), **and** u is as rough
    late as early, by itself or relative to its level (|log2| of the ratio below `roughness`), **and** u is not negative where x
    is not (at most `negative` of it). A raw or exponentially smoothed curve gets a u that is rougher in proportion to i.

What to try:
    Log the loss of the batch. LossLens takes the mean apart again and judges what is left.

When it is wrong:
    No error on six trainings, as they are and under an exponential mean of 0.9 or 0.99 or a window of 10, and none on
    power laws, where slope and roughness alone fail (a raw loss that falls as 1/t has both) and the sign decides. A mean
    since the training began is missed where the noise of the loss itself changes much over the run. Fewer than
    12 points: it abstains. Stairs with noise that stays the same are `memorization`.

References:
    Keras `ProgbarLogger` and `Metric.reset_state`; the identity u_i = i x_i - (i - 1) x_(i-1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Boundary, Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.logged_mean import RECORDED_BESIDE, TAKEN_APART, beside_the_batch_loss
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.analysis.whole import lost_before
from tb_losslens.store.run import Run

ID = "running_mean"
REQUIRES: tuple[str, ...] = ("loss",)
SINCE = ("epoch", "training")


def find(
    context: Context,
    *,
    least_points: int = 12,
    slope: float = -0.8,
    roughness: float = 0.5,
    negative: float = 0.02,
    tolerance: float = 1e-4,
) -> Outcome:
    """Decides by identity where the raw loss is known beside the logged one, else by two statistics."""
    run = context.run
    if len(run) < least_points:
        return Skipped(ID, f"the run has {plural(len(run), 'batch')}; below {least_points} a mean cannot be recognised", "")
    if run.has("logged_loss"):
        return _by_identity(context, tolerance)
    seen: list[Statistics] = []
    for since in SINCE:
        position = _position(run, since)
        statistics = _statistics(run.loss, position, least_points) if position is not None else None
        if statistics is None:
            continue
        seen.append(statistics)
        if statistics.slope < slope and abs(statistics.roughness) < roughness and statistics.negative <= negative:
            return _finding(context, since, statistics)
    if not seen:
        return Skipped(ID, f"no epoch has {least_points} points that differ", "")
    return Checked(
        ID,
        f"steps of the curve go as i^{number(seen[0].slope, 2)} with the batch i (a mean: i^-1), and taken apart it gets "
        f"{number(2**seen[0].roughness, 2)} times as rough (a mean: 1)",
    )


def de_averaged(run: Run, since: str) -> Run:
    """The run with the loss of each batch in place of the mean since the epoch or training began (`since`)."""
    position = _position(run, since)
    if position is None:
        return run
    return replace(run, columns={**run.columns, "loss": _take_apart(run.loss, position)})


def _position(run: Run, since: str) -> NDArray[np.int64] | None:
    """How many batches are in the mean at each row, counted from 1; None if that is unknown."""
    rows = np.arange(len(run), dtype=np.int64) + lost_before(run)
    if since == "training":
        return rows + 1 if not run.plain else run.step - int(run.step[0]) + 1
    if not run.epochs:
        return None
    index = run.columns.get("index")
    if index is not None and (index >= 0).all():
        return np.asarray(index, dtype=np.int64) + 1
    first = np.zeros(len(run), dtype=np.int64)
    for epoch in run.epochs:
        first[epoch.first : epoch.last] = rows[epoch.first]
    return rows - first + 1


def _take_apart(loss: Floats, position: NDArray[np.int64]) -> Floats:
    """`(i x_i - j x_j) / (i - j)` over neighbours, and `x_i` itself where the mean begins; shape (n,)."""
    before = np.concatenate([[np.nan], loss[:-1]])
    last = np.concatenate([[0], position[:-1]])
    goes_on = position > last
    goes_on[0] = False
    gap = np.where(goes_on, position - last, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(goes_on, (position * loss - last * before) / gap, loss)


@dataclass(frozen=True)
class Statistics:
    """What tells a mean from a raw or a smoothed curve.

    Attributes:
        slope: slope of log |second difference of x| on log i; -1 for a mean.
        roughness: log2 of late over early roughness of u; 0 for a mean. Relative to the level of u if that is nearer.
        negative: part of the u below zero although no x is; 0 for a mean of losses.
    """

    slope: float
    roughness: float
    negative: float


def _statistics(loss: Floats, position: NDArray[np.int64], least_points: int) -> Statistics | None:
    """The three statistics, None with too few points.

    Second differences, so that the drift of the curve does not count; medians over rows of about the same i (bins of
    equal width in log i), so that no single batch decides.
    """
    longest = int(position.max(initial=0))
    goes_on = np.concatenate([[False], position[1:] > position[:-1]])
    known = np.isfinite(loss)
    usable = goes_on & known & np.concatenate([[False], known[:-1]])
    inner = usable & np.concatenate([[False], usable[:-1]])
    if longest < least_points or inner.sum() < least_points:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.diff(loss, prepend=np.nan)
        bend = np.abs(np.diff(step, prepend=np.nan))
        u = _take_apart(loss, position)
        jitter = np.abs(np.diff(u, prepend=np.nan))
    edges = np.unique(np.round(np.geomspace(3, longest + 1, 13)).astype(np.int64))
    which = np.digitize(position, edges)
    x, y = [], []
    for part in range(1, len(edges)):
        mine = inner & (which == part)
        typical = median(bend[mine])
        if typical > 0:
            x.append(math.log(median(position[mine])))
            y.append(math.log(typical))
    early, late = inner & (position <= longest // 2), inner & (position > longest // 2)
    rough = [median(jitter[part]) for part in (early, late)]
    level = [median(np.abs(u[part])) for part in (early, late)]
    if len(x) < 4 or not min(*rough, *level) > 0 or not math.isfinite(max(*rough, *level)):
        return None
    plain = math.log2(rough[1] / rough[0])
    relative = plain - math.log2(level[1] / level[0])
    negative = float((u[usable] < 0).mean()) if (loss[known] >= 0).all() else 0.0
    return Statistics(float(np.polyfit(x, y, 1)[0]), min(plain, relative, key=abs), negative)


def _by_identity(context: Context, tolerance: float) -> Outcome:
    """The logged curve against the mean of the raw one, batch by batch."""
    run = context.run
    logged = run.float("logged_loss")
    for since in SINCE:
        position = _position(run, since)
        if position is None:
            continue
        raw = np.where(np.isfinite(run.loss), run.loss, 0.0)
        total = np.cumsum(raw)
        start, lost = np.arange(len(raw)) - position + 1, lost_before(run)
        if (start + lost < 0).any():
            continue
        # of a mean that began before a hole the batches are not all here
        together = (start >= 0) & (lost[np.maximum(start, 0)] == lost)
        mean = (total - np.where(start > 0, total[start - 1], 0.0)) / position
        known = together & np.isfinite(logged) & np.isfinite(run.loss) & (position > 1)
        close = np.abs(mean - logged) <= tolerance * np.maximum(np.abs(mean), 1e-12)
        plainly = np.abs(run.loss - logged) <= tolerance * np.maximum(np.abs(run.loss), 1e-12)
        if known.sum() >= 12 and close[known].mean() > 0.99 and plainly[known].mean() < 0.5:
            return _finding(context, since, None, int(known.sum()))
    return Checked(ID, "the logged loss is not the mean of the raw one since the epoch or the training began")


def _finding(context: Context, since: str, statistics: Statistics | None, rows: int = 0) -> Finding:
    pooled = context.pooled
    what = "since the epoch began" if since == "epoch" else "since the training began"
    share, moved = None, tuple[Boundary, ...]()
    if statistics is None:
        evidence = [Evidence(f"logged value equals the mean of the raw loss {what} at {plural(rows, 'batch')}", "logged_loss")]
    else:
        shrinks, rougher = number(statistics.slope, 2), number(2**statistics.roughness, 2)
        evidence = [
            Evidence(
                f"{what} the steps of the curve get smaller like n^{shrinks}, n batches on; those of a mean like n^-1", "loss"
            ),
            Evidence(
                f"with the averaging undone it is as rough late as early (ratio {rougher}), as the loss of single batches is"
            ),
        ]
        moved = tuple(
            b for b in context.boundaries if b.significant or (b.jump - b.placebo_median) * pooled.direction > 0
        )  # what the screen shows; whether the training does it too is told by the curve taken apart
        share = _share(context, since, moved)
    if share is not None:
        evidence.append(Evidence(f"{percent(share)} of the median jump is gone once the curve is taken apart"))
    explains = bool(moved) and since == "epoch" and (share is None or share > 0)
    text = "so it starts anew with each epoch and jumps there by itself" if since == "epoch" else "so it lags behind"
    title = "The logged loss is a running mean"
    repair = RECORDED_BESIDE if statistics is None else TAKEN_APART
    if statistics is None and since == "epoch":
        beside, explains = beside_the_batch_loss(context)
        text, title = text + beside, "The logged loss jumps because it is a running mean" if explains else title
    return Finding(
        ID, "artifact", "proved" if statistics is None else "likely", title,
        f"The logged value is the mean {what}, {text}.",
        detail=since, score=1.0 if statistics is None else 0.95,
        boundaries=tuple(b.index for b in moved) if explains else (),
        steps=tuple(b.step for b in moved[:20]) if explains else (),
        share=share, explains_jump=explains, evidence=tuple(evidence),
        missing=("writer.log_batch(loss)",) if statistics is not None else (),
        advice=repair.advice, fix=repair.fix, confirm=repair.confirm,
    )  # fmt: skip


def _share(context: Context, since: str, moved: tuple[Boundary, ...]) -> float | None:
    """Part of the jumps that is gone in the curve taken apart, 0..1; None without jumps."""
    if not moved:
        return None
    raw, together = context.measure(de_averaged(context.run, since))
    if together.direction == 0 and not any(raw[b.index].significant for b in moved):
        return 1.0  # what is left is noise of single batches, larger than that of their mean
    logged = median(np.array([b.jump - b.placebo_median for b in moved]))
    left = median(np.array([raw[b.index].jump - raw[b.index].placebo_median for b in moved]))
    if not (math.isfinite(logged) and math.isfinite(left)) or logged == 0:
        return None
    return min(1.0, max(0.0, 1 - left / logged))
