"""Spans of batches whose loss steps up and down again at once: seen in the loss alone."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.bad_rows import gradient_distance, loss_distance
from tb_losslens.analysis.lr_steps import lr_columns
from tb_losslens.analysis.outliers import loss_level, spans
from tb_losslens.analysis.stats import Floats, median, robust_sigma
from tb_losslens.store.run import Run


def box_spans(
    run: Run,
    *,
    least: int = 5,
    most: float = 0.05,
    high: float = 8.0,
    flat: float = 0.3,
    keeps: float = 0.6,
    drop: float = 0.6,
    kick: int = 10,
) -> list[tuple[int, int]]:
    """Spans (first, last) whose loss steps up from one batch to the next, stays, and steps down again as fast.

    Args:
        run: with a loss.
        least: batches in a span.
        most: part of the run that it may take.
        high: distance of each of its batches from the level around.
        flat: its lowest batch over its highest, both above the level.
        keeps: what the last third of its batches keep of the height of the first. A loss that falls within it is that of a
            network which comes back from a disturbance, or follows a target that was moved, and the span ends only where it
            falls below what is `high`.
        drop: part of its median height that the batches right before and after it lack; the next three are within half of
            `high`.
        kick: batches before it of which none may stand out in loss or gradient: the step taken on that one threw the weights
            off, and what follows is how they come back. The first updates of a run do that as well.
    """
    distance = loss_distance(run)
    thrown = np.flatnonzero((distance >= high) | (gradient_distance(run) >= high))
    level, _ = loss_level(run)
    height = run.loss - level
    out = []
    for first, last in spans(np.flatnonzero(distance >= high), join=1):
        length = last - first + 1
        if length < least or length > most * len(distance) or first < kick or last + 1 >= len(distance):
            continue
        inside = height[first : last + 1]
        beside = max(height[first - 1], height[last + 1])
        sharp = beside <= (1 - drop) * float(np.median(inside))
        if ((thrown >= first - kick) & (thrown < first)).any():
            continue
        third = -(-length // 3)
        end = median(inside[-third:])
        stays = end >= keeps * median(inside[:third]) and median(distance[last + 1 : last + 4]) <= high / 2
        if not sharp or not stays or inside.min() < flat * inside.max() or _settings_change(run, first, last + 1):
            continue
        if _beyond_trend(run.loss, first, last, high):
            out.append((first, last))
    return out


def _beyond_trend(loss: Floats, first: int, last: int, high: float, *, beside: int = 25, fold: float = 2.0) -> bool:
    """False if the loss changes more than `fold` times around the rows first..last, and they do not stand out from its trend.

    A level by blocks says nothing there: in a loss that grows tenfold in fifty batches any swing lies far above it. The trend
    is a line through the logarithms of the `beside` batches on either side, and the span must lie `high` robust standard
    deviations of them above it.
    """
    rows = np.concatenate([np.arange(max(0, first - beside), first), np.arange(last + 1, min(len(loss), last + 1 + beside))])
    rows = rows[np.isfinite(loss[rows])]
    known = loss[rows]
    if len(rows) < beside or (known <= 0).any():
        return True
    logs = np.log(known)
    slope, level = np.polyfit(rows - first, logs, 1)
    if abs(slope) * (beside + last - first + 1) <= math.log(fold):
        return True
    rest = robust_sigma(logs - (level + slope * (rows - first)))
    inside = np.arange(first, last + 1)
    over = np.log(np.maximum(loss[inside], np.finfo(float).tiny)) - (level + slope * (inside - first))
    return bool(median(over) >= high * rest)


def _settings_change(run: Run, first: int, after: int) -> bool:
    """True if LR or mode change at either end of the rows first..after - 1, or an epoch begins at both."""
    columns = [name for name in (*lr_columns(run), "train_mode") if run.has(name)]
    for name in columns:
        values = run.float(name)
        if any(abs(values[row] - values[row - 1]) > 0.05 * abs(values[row - 1]) for row in (first, after)):
            return True
    starts = {epoch.first for epoch in run.epochs}
    return first in starts and after in starts
