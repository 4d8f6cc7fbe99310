"""All boundaries of a run laid over each other: what the loss does around them beyond the noise of a single one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.stats import Floats
from tb_losslens.store.run import Run


class Superposed(NamedTuple):
    """Three arrays of 2 * m values, from m batches before the boundary to m - 1 after it, and of how many boundaries."""

    mean: Floats
    low: Floats
    high: Floats
    boundaries: int


def superposed(run: Run, boundaries: Sequence[Boundary], m: int, *, least: int = 3) -> Superposed | None:
    """Mean of the loss less the level before each boundary, with an interval of 95 % (Student's t) over the boundaries.

    Boundaries without a finite level before them, and those nearer than `m` batches to an end of the run, are left out, as is
    from each what lies in the epochs beyond the two that meet there. NaN where fewer than `least` have a finite loss.

    Returns:
        None where fewer than `least` boundaries are left.
    """
    used = [each for each in boundaries if np.isfinite(each.before) and m <= each.batch <= len(run) - m]
    if len(used) < least:
        return None
    at = np.array([each.batch for each in used], dtype=np.int64)
    rows = at[:, None] + np.arange(-m, m)
    around = run.loss[rows] - np.array([each.before for each in used])[:, None]
    ends = np.array([each.batch for each in boundaries], dtype=np.int64)
    index = np.searchsorted(ends, at)
    before = np.where(index > 0, ends[index - 1], 0)
    after = np.where(index + 1 < len(ends), ends[np.minimum(index + 1, len(ends) - 1)], len(run))
    known = np.isfinite(around) & (rows >= before[:, None]) & (rows < after[:, None])
    around = np.where(known, around, 0.0)
    unit = float(np.abs(around).max(initial=0.0)) or 1.0  # the square of a loss that diverged may be no number
    around /= unit
    count = known.sum(axis=0).astype(np.float64)
    enough = count >= least
    size = np.where(enough, count, np.nan)
    mean = around.sum(axis=0) / size
    square = np.where(known, (around - mean) ** 2, 0.0).sum(axis=0)
    freedom = np.where(enough, count - 1, 1.0)
    half = stdtrit(freedom, 0.975) * np.sqrt(square / freedom / size)
    return Superposed(unit * mean, unit * (mean - half), unit * (mean + half), len(used))
