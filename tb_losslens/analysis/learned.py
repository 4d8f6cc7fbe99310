"""How much of what can be learned a run has learned, where 0 is the best constant and 1 no loss at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.baselines import baselines
from tb_losslens.analysis.loss_function import loss_function, mean_losses
from tb_losslens.analysis.stats import finite, mean, median
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Learned:
    """Where the loss ended.

    Attributes:
        level: lowest mean loss of a quarter of the run.
        last: mean loss at its end; NaN where it is not finite there.
        start: level that it is compared with: of the best constant, else that of the first batches.
        constant: `start` is that of the best constant.
        part: 1 - level / start; 0 or less where nothing was learned, NaN where it cannot be told.
    """

    level: float
    last: float
    start: float
    constant: bool
    part: float


def learned(run: Run, *, blocks: int = 4, least: int = 16) -> Learned | None:
    """What the run learned, quarter by quarter: a lower mean of fewer batches may be chance. None below `least` batches."""
    loss = run.loss
    if len(finite(loss)) < least:
        return None
    level, constant = best_constant(run)
    size = len(loss) // blocks
    levels = [mean(part) if np.isfinite(part).all() else math.nan for part in np.array_split(loss, blocks)]
    start = level if constant else median(loss[: max(3, min(20, size))])
    known = [one for one in levels if math.isfinite(one)]
    lowest = min(known, default=math.nan)
    part = 1 - lowest / start if start > 0 else math.nan
    return Learned(lowest, levels[-1], start, constant, part)


def best_constant(run: Run) -> tuple[float, bool]:
    """Loss of the best constant in the unit of the run's loss (NaN where unknown), and whether it is known."""
    function = loss_function(run)
    base = None if function is None else baselines(run, function)
    if function is None or base is None or not math.isfinite(base.constant) or base.constant <= 0:
        return math.nan, False
    known = mean_losses(run, function)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = median((run.loss / known)[: len(known)])
    return (base.constant * unit, True) if math.isfinite(unit) and unit > 0 else (math.nan, False)
