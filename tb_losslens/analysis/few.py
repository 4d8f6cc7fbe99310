"""Too few boundaries for a test of their signs: how far they lie from their own placebos, all together.

The signs of 5 boundaries cannot give p below 0.06, however far out each of them lies. Their distances can: each boundary has
placebos of its own, so each is an experiment by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.tails import normal_isf, normal_sf, t_sf

NORMAL_TAIL = 2.807
"""99.5 % quantile of |z| of a normal distribution."""


def p_by_size(z: Floats, tail: float, count: Floats, *, most: float = 3.0, least: int = 3) -> float:
    """Two-sided p of boundaries that lie at `z` from their placebos, by Stouffer's sum; 1 below `least` boundaries.

    Args:
        z: distances from the placebos, shape (boundaries,).
        tail: 99.5 % quantile of |z| over cuts that are no boundary; where it is that of heavier tails than normal ones, all z
            are smaller by as much.
        count: placebos of each, a third of a window apart: a third of them are independent, which gives Student's t its
            degrees of freedom, for the scale of each z is estimated from them.
        most: a boundary counts for so many standard deviations at most, so that no single one decides.
        least: boundaries needed.

    References:
        Stouffer et al., The American Soldier, 1949 (sum of normal deviates).
    """
    known = np.isfinite(z)
    if known.sum() < least:
        return 1.0
    heavier = max(1.0, tail / NORMAL_TAIL) if math.isfinite(tail) else 1.0
    freedom = np.maximum(3.0, count[known] / 3 - 1)
    size = z[known] / heavier
    deviate = normal_isf(np.maximum(t_sf(np.abs(size), freedom), 1e-300))
    total = float(np.clip(np.sign(size) * deviate, -most, most).sum()) / math.sqrt(int(known.sum()))
    return float(2 * normal_sf(abs(total)))


def together(p: Sequence[float], z: Sequence[Floats], *, level: float = 1e-3, least_part: float = 0.8) -> tuple[int, float]:
    """(direction, p) of the window sizes, each with its p and its z; p is that of the second-best size.

    A direction needs p below `level`, all sizes that reach it on the same side, and `least_part` of the boundaries there at the
    first size.
    """
    value = sorted(p)[min(1, len(p) - 1)]
    sides = {1 if float(np.nansum(one)) > 0 else -1 for q, one in zip(p, z, strict=True) if q <= value}
    known = z[0][np.isfinite(z[0])]
    if value >= level or len(sides) != 1 or not len(known):
        return 0, value
    side = sides.pop()
    return (side if (known * side > 0).mean() >= least_part else 0), value
