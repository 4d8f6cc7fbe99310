"""Whether updates are larger than the loss allows: by curvature, by the slope after them, by their size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.stats import finite
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class StepSize:
    """What was read of the updates before row `end`.

    Attributes:
        lr: learning rate at the last of them.
        plain: the optimiser is SGD without momentum, whose steps are the gradient times the LR.
        read: updates whose curvature is known.
        beyond: of these, those with a curvature above 2 / LR; 0 where the optimiser is another.
        overshot: share of updates after which the slope along them is positive: the minimum lies behind; NaN if unknown.
        largest: largest update over the size of the weights; NaN if unknown.
        allowed: 1 / curvature at its upper tenth, an LR that the loss would have borne; NaN if unknown.
    """

    lr: float
    plain: bool
    read: int
    beyond: int
    overshot: float
    largest: float
    allowed: float


def step_size(run: Run, end: int) -> StepSize:
    """Of the updates that led to the rows before `end`, the last 50 at most."""
    first = max(0, end - 50)
    rows = slice(first, min(end, len(run)))
    lr, curvature = run.float("lr")[rows], run.float("curvature")[rows]
    plain = _is_plain(run)
    free = ~_clipped(run, rows)
    with np.errstate(invalid="ignore", over="ignore"):
        known = np.isfinite(curvature) & np.isfinite(lr)
        beyond = known & free & (curvature * lr > 2)
    slope = finite(run.float("grad_dot_update")[rows])
    ratios = finite(run.float("update_ratio")[rows])
    positive = curvature[known & (curvature > 0)]
    allowed = 1 / float(np.quantile(positive, 0.9)) if plain and len(positive) else math.nan
    rates = finite(lr)
    return StepSize(
        float(rates[-1]) if len(rates) else math.nan,
        plain,
        int(known.sum()),
        int(beyond.sum()) if plain else 0,
        float((slope > 0).mean()) if len(slope) else math.nan,
        float(ratios.max()) if len(ratios) else math.nan,
        allowed if math.isfinite(allowed) else math.nan,
    )


def _is_plain(run: Run) -> bool:
    facts = run.facts.get("optimizer")
    defaults = facts.get("defaults") if isinstance(facts, dict) else None
    if not isinstance(facts, dict) or facts.get("class") != "SGD" or not isinstance(defaults, dict):
        return False
    return not defaults.get("momentum")


def _clipped(run: Run, rows: slice, *, tolerance: float = 1e-3) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    before, after = run.float("grad_norm")[rows], run.float("grad_norm_at_step")[rows]
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(after < (1 - tolerance) * before)


