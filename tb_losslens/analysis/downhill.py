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


def fall(run: Run, first: int, last: int, *, least: int = 8) -> Downhill:
    """The same from the losses of these rows in three windows, which need far more of them.

    A loss that comes near a floor falls less and less: the ratio of its two falls goes into the mean.
    """
    size = (last - first) // 3
    levels = [mean(run.loss[last - k * size : last - (k - 1) * size]) for k in (3, 2, 1)] if size >= least else [math.nan]
    error = noise(run.loss[first:last]) * math.sqrt(2 / size) if size >= least else math.nan
    if not (all(map(math.isfinite, levels)) and error > 0):
        return Downhill(math.nan, 0.0, 0, by_loss=True)
    earlier, fell = levels[0] - levels[1], levels[1] - levels[2]
    slower = min(1.0, fell / earlier) if earlier > fell > 0 else 1.0
    return Downhill(-fell * slower / size, -fell / error, 3 * size, by_loss=True)
