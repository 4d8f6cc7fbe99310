"""The move of the loss at any row, judged like a boundary: for events that lie inside an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Cuts, window_sizes
from tb_losslens.analysis.contrast import contrast
from tb_losslens.analysis.stats import Floats, finite, median, moving_mean, noise, robust_sigma


@dataclass(frozen=True)
class Cut:
    """The move of the loss at one row.

    Attributes:
        row: first row after the cut.
        m: batches a side.
        jump: mean of the m rows after less mean of the m rows before, NaN if either side is cut short.
        expected: median of the same contrast at cuts nearby.
        z: distance of `jump` from `expected` in robust standard deviations of those contrasts; NaN with too few.
        clear: two window sizes agree that this is more than noise.
    """

    row: int
    m: int = 0
    jump: float = math.nan
    expected: float = math.nan
    z: float = math.nan
    clear: bool = False

    @property
    def excess(self) -> float:
        """Jump beyond what cuts nearby show."""
        return self.jump - (self.expected if math.isfinite(self.expected) else 0.0)


def measure_rows(
    loss: Floats, rows: Sequence[int], *, reach: int, others: Sequence[int] = (), clear_z: float = 6.0, fold: float = 2.0
) -> list[Cut]:
    """Judges the loss, shape (n,), at each of `rows` against cuts within `reach` rows on either side.

    Args:
        loss: one value a batch.
        rows: first row after each cut, in order.
        reach: rows on either side; comparisons end earlier at the next of `rows` or `others`.
        others: rows of further events, as the boundaries of the epochs.
        clear_z: a move is clear beyond this |z|, and beyond what its own placebos reach, at two window sizes.
        fold: work on log loss where the level changes by more than this factor.
    """
    fences = np.unique([0, len(loss), *rows, *others])
    out = []
    for row in rows:
        if not 0 < row < len(loss):
            out.append(Cut(row))
            continue
        first = max(int(fences[fences < row].max()), row - reach)
        end = min(int(fences[fences > row].min()), row + reach)
        low, here, high = (np.array([v], dtype=np.int64) for v in (first, row, end))
        out.append(_measure(loss, Cuts(low, here, here, high, np.zeros_like(here), reach), clear_z, fold))
    return out


def _measure(loss: Floats, cut: Cuts, clear_z: float, fold: float) -> Cut:
    first, row, end = int(cut.first[0]), int(cut.start[0]), int(cut.end[0])
    sizes = window_sizes(min(row - first, end - row))
    if not sizes:
        return Cut(row)
    near = loss[first:end]
    used = loss
    if (near > 0).all() and len(near):
        levels = [median(part) for part in np.array_split(near, 4)]
        if max(levels) > fold * min(levels):
            used = np.log(np.where(loss > 0, loss, np.nan))
    judged = [contrast(used, cut, m) for m in sizes]
    limits = [max(clear_z, c.tail) if math.isfinite(c.tail) else clear_z for c in judged]
    z = [float(c.z[0]) for c in judged]
    up = sum(value > limit for value, limit in zip(z, limits, strict=True))
    down = sum(value < -limit for value, limit in zip(z, limits, strict=True))
    plain = contrast(loss, cut, sizes[0])
    clear = max(up, down) >= min(2, len(sizes))
    return Cut(row, sizes[0], float(plain.jump[0]), float(plain.centre[0]), z[0], clear)


def initial_descent(placebos: Floats, before: NDArray[np.bool_], move: float, *, flat: int = 6) -> NDArray[np.bool_]:
    """The first placebos as long as they fall by half of `move` or more, if `flat` or more that do not lie behind them.

    A curve that has flattened does not by itself fall as fast again: against a fall after that its steep start says nothing.
    All False where `move` is a rise, or where the curve still falls that fast right before it.

    Args:
        placebos: changes of level, shape (k,), in the order of their rows.
        before: those before the row that is asked.
        move: the change there, less what is usual.
        flat: placebos between the steep start and the row.
    """
    out = np.zeros(len(placebos), dtype=bool)
    if move >= 0:
        return out
    slow = np.flatnonzero(placebos > 0.5 * move)
    start = int(slow[0]) if len(slow) else len(placebos)
    out[:start] = before[:start] & (int(before.sum()) - start >= flat)
    return out


def measure_levels(
    loss: Floats,
    rows: Sequence[int],
    *,
    window: int,
    events: Sequence[int] = (),
    windows_around: int = 8,
    clear_z: float = 5.0,
    least_placebos: int = 10,
    finer: int = 2,
) -> list[Cut]:
    """Judges a lasting change of level at each of `rows`: slower than a jump, but clear over `window` rows a side.

    The level after is taken a quarter of a window later, to leave the transition out. Placebos are the same contrast at cuts
    1/`finer` of a window apart, within `windows_around` windows on either side, whose own windows hold none of `rows` and
    `events`; their spread is no smaller than what the noise from batch to batch leads one to expect. On log loss where all of
    it is positive, so that a noise that scales with the level does not matter.
    """
    gap = window // 4
    positive = bool((loss[np.isfinite(loss)] > 0).all())
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.log(loss) if positive else loss
    marks = np.unique([*rows, *events])
    means, plain = moving_mean(used, window), moving_mean(loss, window)

    def contrast_at(values: Floats, row: int) -> float:
        before, after = row - window, row + gap
        return float(values[after] - values[before]) if before >= 0 and after < len(values) else math.nan

    out = []
    for row in rows:
        offsets = range(-windows_around * window, windows_around * window + 1, max(1, window // finer))
        cuts = [row + k for k in offsets]
        quiet = [c for c in cuts if not ((marks > c - window) & (marks < c + gap + window)).any()]
        values = np.array([contrast_at(means, c) for c in quiet])
        placebos = finite(values)
        move = contrast_at(means, row)
        crowded = ((marks > row - window) & (marks < row + gap + window) & (marks != row)).any()
        if len(placebos) < least_placebos or not math.isfinite(move) or crowded:
            out.append(Cut(row, window, contrast_at(plain, row)))
            continue
        near = used[max(0, row - window) : row + gap + window]
        middle, spread = float(np.median(placebos)), max(robust_sigma(placebos), noise(near) * math.sqrt(2 / window))
        z = (move - middle) / spread if spread > 0 else 0.0
        before = np.array([c < row for c in quiet])[np.isfinite(values)]
        compared = placebos[~initial_descent(placebos, before, move)]
        strays = float(np.abs((compared - middle) / spread).max()) if spread > 0 else math.inf
        usual = median(np.array([contrast_at(plain, c) for c in quiet]))
        out.append(Cut(row, window, contrast_at(plain, row), usual, z, abs(z) > max(clear_z, strays)))
    return out
