"""The logged loss is the mean since the epoch (or the training) began, not the loss of the batch.

What it sees:
    Within an epoch the curve gets smoother and smoother, and at each boundary it starts again at the loss of one batch.

Why it matters:
    The mean of an epoch drags its early, higher losses along; when it restarts, the curve drops (or rises) although
    the training did nothing at all. Progress bars, Keras and many hand-written loops log this. It is the first
    thing to exclude.

How it decides:
    With the raw loss beside the logged one (column `logged_loss`): an identity, to the precision of float32. A loss that is
    a function of output and target in batches that do not begin an epoch is that of the batch, and no mean.
    Without either: let i count batches since it began, and `u_i = (i x_i - j x_j) / (i - j)` for logged neighbours j < i.
    If x is a mean, its second differences shrink as 1/i (their slope on log i is below `slope`, and within `most_odds` of what
    the roughness of u makes it), **and** u is as rough
    late as early, by itself or relative to its level (|log2| of the ratio below `roughness`), **and** u is not negative where x
    is not (at most `negative` of it). A raw or exponentially smoothed curve gets a u that is rougher in proportion to i.

What to try:
    Log the loss of the batch. LossLens takes the mean apart again and judges what is left.

When it is wrong:
    No error on six trainings, as they are and under an exponential mean of 0.9 or 0.99 or a window of 10, and none on
    power laws, where slope and roughness alone fail (a raw loss that falls as 1/t has both) and the sign decides. A mean
    since the training began is missed where the noise of the loss itself changes much over the run. An exponential mean
    is `smoothed_metric`. Fewer than 12 points: it abstains. Stairs with noise that stays the same are `memorization`.

References:
    Keras `ProgbarLogger` and `Metric.reset_state`; the identity u_i = i x_i - (i - 1) x_(i-1).
"""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Boundary, Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.logged_mean import RECORDED_BESIDE, TAKEN_APART, beside_the_batch_loss
from tb_losslens.analysis.loss_function import is_the_loss, loss_function, mean_losses
from tb_losslens.analysis.mean_curve import Statistics, de_averaged, mean_statistics, position_in_mean, starts_anew
from tb_losslens.analysis.smoothness import shared_with_before
from tb_losslens.analysis.stats import median
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
    slope_if_shared: float = -0.5,
    roughness: float = 0.5,
    most_odds: float = 1.0,
    negative: float = 0.02,
    tolerance: float = 1e-4,
) -> Outcome:
    """Decides by identity where the raw loss is known beside the logged one, else by two statistics."""
    run = context.run
    if len(run) < least_points:
        return Skipped(ID, f"the run has {plural(len(run), 'batch')}; below {least_points} a mean cannot be recognised", "")
    if run.has("logged_loss"):
        return _by_identity(context, tolerance)
    of_batch = _of_the_batch(run)
    if of_batch:
        return Checked(ID, of_batch)
    seen: list[Statistics] = []
    for since in SINCE:
        position = position_in_mean(run, since)
        statistics = mean_statistics(run.loss, position, least_points) if position is not None else None
        if statistics is None:
            continue
        seen.append(statistics)
        steep = statistics.slope < slope or (statistics.slope < slope_if_shared and _shares_until_apart(context, since))
        agree = abs(statistics.odds) < most_odds
        rough = abs(statistics.roughness) < roughness and statistics.negative <= negative
        if steep and agree and rough and not (since == "training" and starts_anew(run)):
            return _finding(context, since, statistics)
    if not seen:
        return Skipped(ID, f"no epoch has {least_points} points that differ", "")
    return Checked(
        ID,
        f"steps of the curve go as i^{number(seen[0].slope, 2)} with the batch i (a mean: i^-1), and taken apart it gets "
        f"{number(2 ** seen[0].roughness, 2)} times as rough (a mean: 1)",
    )


def _of_the_batch(run: Run, *, part: float = 0.9, least: int = 3) -> str:
    """That the loss is known to be a function of output and target, in words; "" where it is not.

    The first batch of an epoch tells nothing: a mean that begins there is the loss of that batch.
    """
    function = loss_function(run)
    if function is None:
        return ""
    rows, tested = function.rows, function.tested
    if not is_the_loss(run):  # a watched criterion was tested: is the logged number the same?
        computed = mean_losses(run, function)
        tested = int(np.isfinite(computed).sum())
        rows = np.flatnonzero(np.isclose(computed, run.loss, rtol=1e-4, atol=0.0))
    if len(rows) < part * tested or (run.float("index")[rows] > 0).sum() < least:
        return ""
    held = f"in {len(rows):,} of {plural(tested, 'batch')} that were tested"
    return f"the loss is the {function.name.replace('_', ' ')} of output and target {held}, so that of the batch"


def _shares_until_apart(context: Context, since: str, *, smooth: float = 0.75, raw: float = 0.25) -> bool:
    """True if neighbouring values share noise, and no longer do once the curve is taken apart: the curve is not raw."""
    apart = de_averaged(context.run, since)
    return shared_with_before(context.run) >= smooth and shared_with_before(apart) <= raw


def _by_identity(context: Context, tolerance: float) -> Outcome:
    """The logged curve against the mean of the raw one, batch by batch."""
    run = context.run
    logged = run.float("logged_loss")
    for since in SINCE:
        position = position_in_mean(run, since)
        if position is None:
            continue
        raw = np.where(np.isfinite(run.loss), run.loss, 0.0)
        total = np.cumsum(raw)
        start, lost = np.arange(len(raw)) - position + 1, lost_before(run)
        if (start + lost < 0).any():
            continue
        # of a mean that began before a hole the batches are not all here
        together = (start >= 0) & (lost[np.maximum(start, 0)] == lost)
        mean = (total - np.where(start > 0, total[np.maximum(start - 1, 0)], 0.0)) / position
        known = together & np.isfinite(logged) & np.isfinite(run.loss) & (position > 1)
        with np.errstate(invalid="ignore", over="ignore"):  # where both are infinite
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
