"""How much of the jumps at the boundaries follows from a change of content there.

What a change of content does to the loss is learned at cuts *inside* the epochs, then predicted at the boundaries, which
took no part in it. Two ways: new content raises the loss (slope of the move of the loss on the distance of content), and
harder content raises it (linear in the move of each share: Oaxaca's composition term with coefficients fitted inside).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.content import Content, apart, chance_apart, sample_weights
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import excess
from tb_losslens.analysis.stats import Floats, median, moving_mean


@dataclass(frozen=True)
class ContentJump:
    """What content does at the boundaries.

    Attributes:
        at_boundary: median distance of content across the boundaries (see `moves`).
        inside: median distance across cuts inside the epochs.
        inside_most: 99 % quantile of the same.
        chance: what windows of random samples would have.
        share: part of the jumps that is predicted from cuts inside the epochs, None where those show no relation.
    """

    at_boundary: float
    inside: float
    inside_most: float
    chance: float
    share: float | None


def content_jump(context: Context, content: Content, *, least_cuts: int = 12, least_correlation: float = 0.3) -> ContentJump:
    """Compares boundaries with cuts inside the epochs.

    Args:
        context: with at least one measured boundary.
        content: a property of the batches.
        least_cuts: cuts inside two adjacent epochs that a slope needs.
        least_correlation: below it a slope is no relation.
    """
    m = context.boundaries[0].m
    loss = moving_difference(context.run.loss[:, None], m)[:, 0]
    shift = moving_difference(content.mean, m)
    far = apart(content, shift)
    inside = _inside(context, m)
    at = np.array([b.batch for b in context.boundaries], dtype=np.int64)
    jumps = np.array([excess(b) for b in context.boundaries])
    novelty = np.full(len(at), np.nan)
    for k, boundary in enumerate(context.boundaries):
        near = inside[np.abs(_epoch_of(context, inside) - k - 0.5) < 1]
        novelty[k] = _by_distance(far[near], loss[near], far[boundary.batch], least_cuts, least_correlation)
    shares = [
        _explained(jumps, predicted) for predicted in (novelty, _by_composition(shift, loss, inside, at, least_correlation))
    ]
    known = [share for share in shares if share is not None]
    quantile = far[inside][np.isfinite(far[inside])]
    most = float(np.quantile(quantile, 0.99)) if len(quantile) else math.nan
    samples = m * median(sample_weights(context.run))
    chance = chance_apart(content, samples)
    return ContentJump(median(far[at]), median(far[inside]), most, chance, max(known) if known else None)


def moving_difference(values: Floats, m: int) -> Floats:
    """Mean of the m rows from i on less mean of the m rows before i, shape (n, k) -> (n, k); NaN where cut short."""
    out = np.full(values.shape, np.nan)
    for column in range(values.shape[1]):
        means = moving_mean(values[:, column], m)
        if len(means) > m:
            out[m : m + len(means) - m, column] = means[m:] - means[:-m]
    return out


def _inside(context: Context, m: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rows of cuts whose windows stay in one epoch and 2m away from its ends."""
    stride = max(1, m // 2)
    parts = [np.arange(e.first + 2 * m, e.last - 2 * m + 1, stride, dtype=np.int64) for e in context.epochs]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def _epoch_of(context: Context, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Floats:
    first = np.array([e.first for e in context.epochs], dtype=np.int64)
    return np.asarray(np.searchsorted(first, rows, side="right") - 1, dtype=np.float64)


def _by_distance(far: Floats, loss: Floats, at: float, least_cuts: int, least_correlation: float) -> float:
    """Move of the loss that a slope on distance, fitted on cuts (far, loss), predicts beyond the usual at distance `at`."""
    fine = np.isfinite(far) & np.isfinite(loss)
    far, loss = far[fine], loss[fine]
    if len(far) < least_cuts or np.ptp(far) == 0 or np.ptp(loss) == 0:
        return math.nan
    if float(np.corrcoef(far, loss)[0, 1]) < least_correlation:
        return math.nan
    slope = float(np.polyfit(far, loss, 1)[0])
    return slope * (min(at, 1.5 * float(far.max())) - float(np.median(far)))


def _by_composition(
    shift: Floats,
    loss: Floats,
    inside: np.ndarray[tuple[int], np.dtype[np.int64]],
    at: np.ndarray[tuple[int], np.dtype[np.int64]],
    least_correlation: float,
) -> Floats:
    """Moves of the loss at rows `at` that a linear fit on the moves of content inside the epochs predicts."""
    columns = shift.shape[1] - 1 if shift.shape[1] > 1 else 1  # shares add up to one
    x, y = shift[inside][:, :columns], loss[inside]
    fine = np.isfinite(x).all(axis=1) & np.isfinite(y)
    x, y = x[fine], y[fine] - (np.median(y[fine]) if fine.any() else 0.0)
    if len(x) < 8 * columns or np.ptp(y) == 0:
        return np.full(len(at), np.nan)
    slopes, *_ = np.linalg.lstsq(x, y, rcond=1e-6)
    fitted = x @ slopes
    if np.ptp(fitted) == 0 or float(np.corrcoef(fitted, y)[0, 1]) < least_correlation:
        return np.full(len(at), np.nan)
    out: Floats = shift[at][:, :columns] @ slopes
    return out


def _explained(jumps: Floats, predicted: Floats) -> float | None:
    """Part of the typical jump that the typical prediction covers, 0..1; a prediction beyond it covers all of it."""
    fine = np.isfinite(jumps) & np.isfinite(predicted)
    if 2 * fine.sum() < len(jumps) or not fine.any():
        return None
    jump, expected = float(np.median(jumps[fine])), float(np.median(predicted[fine]))
    return float(np.clip(expected / jump, 0.0, 1.0)) if jump else None
