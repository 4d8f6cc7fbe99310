"""What a move of the loss at a boundary looks like: a spike, a step, a transient, or a divergence."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Cuts
from tb_losslens.analysis.measured import Shape
from tb_losslens.analysis.stats import Floats, finite, mean, median, moving_mean, robust_sigma


def shapes(loss: Floats, cuts: Cuts, m: int, *, jump: Floats, centre: Floats, significant: NDArray[np.bool_]) -> list[Shape]:
    """The shape at each boundary, "none" where the jump is within noise; arrays of shape (boundaries,)."""
    out: list[Shape] = ["none"] * len(cuts)
    for k in np.flatnonzero(significant):
        before = loss[cuts.first[k] : cuts.last[k]]
        after = loss[cuts.start[k] : cuts.end[k]]
        out[k] = shape_of(before, after, m, float(jump[k] - centre[k]))
    return out


def shape_of(
    before: Floats, after: Floats, m: int, excess: float, *, alone: float = 0.4, back: float = 0.6, fold: float = 3.0
) -> Shape:
    """Shape of one significant jump, from the batches of the epoch before and the epoch after.

    Args:
        before: batch loss of the epoch before.
        after: batch loss of the epoch after.
        m: batches a side; the jump was measured with it.
        excess: the jump beyond its placebo median.
        alone: a spike if less than this part of the jump is left without its most extreme batch. (A spike shrinks as
            1/m with the window, a step does not; leaving the batch out asks the same of one window.)
        back: a transient if by the end of the epoch after at least this part of the jump is gone.
        fold: a divergence if the epoch ends above this multiple of the level just after the boundary.
    """
    left, right = finite(before[-m:]), finite(after[:m])
    if len(left) == 0 or len(right) == 0 or excess == 0:
        return "none"
    up = excess > 0
    level = mean(right)
    late = mean(after[-max(m, len(after) // 4) :])
    if up and (not np.isfinite(after[-m:]).any() or (level > 0 and late > fold * level)):
        return "divergence"
    if extreme_batch(before, after, m, excess, alone=alone) is not None:
        return "spike"
    if len(after) >= 3 * m and (level - late) / excess >= back:
        return "transient"
    return "step_up" if up else "step_down"


def recovery(after: Floats, m: int, excess: float, *, back: float = 0.6) -> int | None:
    """Batches after the boundary until the mean of m is back by `back` of the jump; None if it never is."""
    level = mean(after[:m])
    gone = (level - moving_mean(after, m)) / excess if excess else np.empty(0)
    there = np.flatnonzero(gone >= back)
    return int(there[0]) if len(there) else None


def pattern(jump: Floats, before: Floats, after: Floats, direction: int, *, back: float = 0.5) -> Shape:
    """What the boundaries of a run have in common, from their levels, arrays of shape (boundaries,).

    Drops that the epochs gain back by at least `back` are a sawtooth, others a staircase; rises that they lose again are
    transients, others steps.
    """
    if direction == 0:
        return "none"
    typical = median(jump)
    within = median(before[1:] - after[:-1])
    returns = bool(np.isfinite(within)) and -within / typical >= back if typical else False
    if direction < 0:
        return "sawtooth" if returns else "staircase"
    return "transient" if returns else "step_up"


def extreme_batch(before: Floats, after: Floats, m: int, excess: float, *, alone: float = 0.4) -> int | None:
    """Offset from the boundary of the one batch that makes the jump (-1 is the last before it), None if none does."""
    left, right = before[-m:], after[:m]
    if np.isfinite(left).sum() < 3 or np.isfinite(right).sum() < 3:
        return None
    up = excess > 0
    full = mean(right) - mean(left)
    high, low = (right, left) if up else (left, right)
    top, bottom = int(np.nanargmax(_known(high))), int(np.nanargmin(_known(low)))
    for values, at, side in ((high, top, 1), (low, bottom, -1)):
        rest = mean(np.delete(values, at))
        lost = abs(mean(values) - rest)
        if lost > (1 - alone) * abs(excess) and math.isfinite(full):
            on_right = up == (side > 0)
            return at if on_right else at - len(values)
    return None


def strays(
    loss: Floats, cuts: Cuts, m: int, *, excess: Floats, significant: NDArray[np.bool_], above: float = 1.5
) -> NDArray[np.bool_]:
    """Boundaries whose jump is one outlying batch that has nothing to do with the boundary, shape (boundaries,).

    It does not touch the boundary, or batches inside the run's epochs lie nearly as far out (it must be `above` times
    further than any): on losses with heavy tails one batch in a window passes any test of the mean.
    """
    out = np.zeros(len(cuts), dtype=bool)
    far: Floats | None = None
    for k in np.flatnonzero(significant):
        before = loss[cuts.first[k] : cuts.last[k]]
        after = loss[cuts.start[k] : cuts.end[k]]
        offset = extreme_batch(before, after, m, float(excess[k]))
        if offset is None:
            continue
        if offset not in (-1, 0):
            out[k] = True
            continue
        if far is None:
            far = _outlyingness(loss, cuts)
            edges = np.concatenate([cuts.first, cuts.last - 1, cuts.start, cuts.end - 1])
            inside = np.delete(far, edges)
            furthest = float(np.nanmax(inside)) if np.isfinite(inside).any() else 0.0
        out[k] = not far[cuts.start[k] if offset == 0 else cuts.last[k] - 1] > above * furthest
    return out


def _outlyingness(loss: Floats, cuts: Cuts) -> Floats:
    """Distance of each batch from the median of its epoch in the epoch's robust standard deviations, shape (n,)."""
    out = np.full(len(loss), np.nan)
    spans = zip([*cuts.first, *cuts.start[-1:]], [*cuts.last, *cuts.end[-1:]], strict=True)
    for first, last in spans:
        part = loss[first:last]
        sigma = robust_sigma(part)
        if sigma > 0:
            with np.errstate(over="ignore", invalid="ignore"):
                out[first:last] = np.where(np.isfinite(part), np.abs(part - median(part)) / sigma, np.nan)
    return out


def _known(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)
