"""Whether the held-out loss rises for good after its best, and what was found that may be why."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Finding
from tb_losslens.analysis.held_out_curve import Curve
from tb_losslens.analysis.stats import rank_correlation


@dataclass(frozen=True)
class Rise:
    """The held-out loss from its best to its end.

    Attributes:
        share: part of the learned loss that was lost again.
        noises: the rise in standard deviations from one validation to the next; NaN where they are unknown.
        rho, p: its trend after the best.
    """

    share: float
    noises: float
    rho: float
    p: float

    def lasts(self, *, level: float, noises: float, lost: float) -> bool:
        """True if it has a trend with a p below `level`, and is larger than `noises` and than the part `lost`."""
        return self.rho > 0 and self.p < level and self.noises > noises and self.share > lost


def rise_of(curve: Curve) -> Rise:
    """The rise after the best validation; with fewer than 4 after it, it has no trend."""
    best = curve.best
    height = curve.end - float(curve.smooth[best])
    rho, p = rank_correlation(curve.rows[best + 1 :].astype(float), curve.value[best + 1 :])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share, noises = (float(np.float64(height) / by) for by in (curve.learned, curve.noise))
    return Rise(share, noises, rho, p)


def mechanisms(context: Context, step: int, *, but: tuple[str, ...] = ()) -> list[str]:
    """Causes found before that may be why: faults and planned changes that begin at or before `step`, or nobody knows where."""
    found = [o for o in context.earlier if isinstance(o, Finding) and o.kind in ("fault", "planned")]
    known = [o for o in found if o.strength != "possible" and o.cause not in but]
    return list(dict.fromkeys(o.cause for o in known if min(o.steps, default=-math.inf) <= step))
