"""Whether a training still goes down as steeply as it did: the slope of the loss along the updates, for the LR of each.

A first-order step takes `LR x slope` off the loss. While the weights have hardly moved, the slope for an LR of 1 stays as it
is; where a way is behind them it has flattened, or turned. The slope is that which the next batch saw: noise does not bend it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.downhill import downhill
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.per_layer import by_layer
from tb_losslens.analysis.stats import Floats
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Slopes:
    """The slope along the updates in two stretches of a run.

    Attributes:
        before, after: loss a step for an LR of 1; NaN where too few updates were read.
        errors: the less certain of the two, in its own standard errors: -5 is clearly downhill in both.
        count: updates that were read in both.
    """

    before: float
    after: float
    errors: float
    count: int

    @property
    def left(self) -> float:
        """The later slope over the earlier one: 1 where nothing has flattened; NaN where the earlier one is not downhill."""
        return self.after / self.before if self.before < 0 else math.nan


def slopes(run: Run, before: tuple[int, int], after: tuple[int, int]) -> Slopes:
    """Of the rows `first <= row < last` of each stretch, those whose slopes were read in turn."""
    rate = filled(run.float("lr"))
    per_rate, errors, count = [], [], 0
    for first, last in (before, after):
        one = downhill(run, first, last)
        with np.errstate(all="ignore"):
            known = np.isfinite(run.float("grad_dot_update")) & by_turn(run)
        used = rate[first:last][known[first:last]]
        level = float(used.mean()) if len(used) else math.nan
        with np.errstate(all="ignore"):
            per_rate.append(float(np.float64(one.mean) / level) if level > 0 else math.nan)
        errors.append(one.errors)
        count += one.count
    return Slopes(per_rate[0], per_rate[1], max(errors), count)


def thirds_read(run: Run, *, least: int = 15, reach: float = 0.6) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Rows of the first and of the last third of the updates whose slope was read.

    None for fewer than `least` of them, or where the last one lies before `reach` of the run.
    """
    rows = np.flatnonzero(np.isfinite(run.float("grad_dot_update")) & by_turn(run))
    if len(rows) < least or rows[-1] < reach * len(run):
        return None
    third = len(rows) // 3
    return (0, int(rows[third])), (int(rows[-third]), int(rows[-1]) + 1)


def longest_way(run: Run, *, most: int = 20_000, least: int = 5) -> tuple[float, str]:
    """(updates of the run laid end to end over the size of the weights, in the parameter that moves most; its name).

    Biases are left out, which may begin at 0. Each ratio that was read is taken for its LR, and the LRs are added up. Of long
    runs the first rows are read. (NaN, "") with fewer than `least` of them.
    """
    rate = filled(run.float("lr"))
    names, table = by_layer(run, "layer_update_ratio", 0, min(len(run), most))
    weights = [k for k, name in enumerate(names) if not name.endswith("bias")]
    here = rate[: len(table)]
    used = by_turn(run)[: len(table)] & (here > 0)
    table = table[used][:, weights]
    table = table[np.isfinite(table).all(axis=1)] if weights else table
    if len(table) < least or not weights:
        return math.nan, ""
    with np.errstate(all="ignore"):
        ways: Floats = table.mean(axis=0) / float(here[used].mean()) * float(rate.sum())
    largest = int(np.argmax(ways))
    return float(ways[largest]), names[weights[largest]]
