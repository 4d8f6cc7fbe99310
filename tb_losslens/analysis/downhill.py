"""Whether the updates still went downhill: the slope of the loss along each, as the next batch saw it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.stats import finite, mean, noise
from tb_losslens.store.run import Run

SLOPE = "grad_dot_update"


@dataclass(frozen=True)
class Downhill:
    """The mean of g(t) . dw over some rows, where dw is the update before the batch and g(t) its gradient.

    Below 0 the minimum along the update lies ahead, and each step takes at least that much off a convex loss. Above 0 it lies
    behind: the weights bounce, and a smaller step would bring them lower. Other batches than those the update was made from
    tell it, so noise moves it to neither side.

    Attributes:
        mean: loss a step; NaN where too few were read.
        errors: the mean in its own standard errors.
        count: updates that were read.
        by_loss: it is that of the losses themselves (`fall`), since too few updates were read.
    """

    mean: float
    errors: float
    count: int
    by_loss: bool = False


def downhill(run: Run, first: int, last: int, *, least: int = 5) -> Downhill:
    """Of the rows `first <= row < last`, those left out that were read for their loss; at least `least` of them."""
    values = finite(np.where(by_turn(run), run.float(SLOPE), np.nan)[max(0, first) : last])
    if len(values) < least:
        return Downhill(math.nan, 0.0, len(values))
    with np.errstate(over="ignore", invalid="ignore"):
        level, spread = float(values.mean()), float(values.std(ddof=1))
    if not (math.isfinite(level) and math.isfinite(spread) and spread > 0):
        return Downhill(math.nan, 0.0, len(values))
    return Downhill(level, level / spread * math.sqrt(len(values)), len(values))


def fall(run: Run, first: int, last: int) -> Downhill:
    """The same from the losses of the last two thirds of these rows, which need far more of them."""
    known = falls(run, first, last)
    if known is None:
        return Downhill(math.nan, 0.0, 0, by_loss=True)
    _, fell, error, size = known
    return Downhill(-fell / size, -fell / error, 2 * size, by_loss=True)


def flattening(run: Run, first: int, last: int, *, clear: float = 3.0) -> float:
    """The fall of the loss over the last third of these rows as a part of that over the third before; 1 where it is not less.

    It is the upper end of what the noise allows, and 1 where the earlier fall is not `clear` of it (standard errors).
    """
    known = falls(run, first, last)
    if known is None or known[0] < clear * known[2]:
        return 1.0
    earlier, fell, error, _ = known
    return min(1.0, max(0.0, (fell + error) / (earlier - error)))


def falls(run: Run, first: int, last: int, *, least: int = 8) -> tuple[float, float, float, int] | None:
    """(fall from the first third to the second, from the second to the third, standard error, rows of a third)."""
    size = (last - first) // 3
    if size < least:
        return None
    levels = [mean(run.loss[last - k * size : last - (k - 1) * size]) for k in (3, 2, 1)]
    error = noise(run.loss[first:last]) * math.sqrt(2 / size)
    if not (all(map(math.isfinite, levels)) and error > 0):
        return None
    return levels[0] - levels[1], levels[1] - levels[2], error, size
