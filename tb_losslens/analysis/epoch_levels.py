"""Whether a signal takes another level at an epoch boundary and keeps it, epoch by epoch.

An epoch that draws all its samples once has the same total whatever the order, so levels of whole epochs compare even
where batches do not; their medians ignore a span of bad batches.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.epoch_pool import Levels, needed_t, pooled_shifts
from tb_losslens.analysis.late_shift import late_shift
from tb_losslens.analysis.stats import MAD_TO_SIGMA, Floats, finite, median, row_median
from tb_losslens.store.run import Epoch


def levels(values: Floats, weight: Floats, epochs: tuple[Epoch, ...], *, together: int = 1 << 17) -> Levels:
    """Levels of `values`, shape (n,); NaN for epochs without a known value.

    So many batches are taken `together`, as the cache of a processor holds.
    """
    if not epochs:
        return Levels(*np.empty((5, 0)))
    first, last = np.array([epoch.first for epoch in epochs]), np.array([epoch.last for epoch in epochs])
    each = max(1, together * len(epochs) // max(1, int((last - first).sum())))
    parts = [_levels(values, weight, first[k : k + each], last[k : k + each]) for k in range(0, len(epochs), each)]
    return Levels(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _levels(
    values: Floats, weight: Floats, first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    half = (last - first) // 2
    table = packed(values, first, last)
    middle = row_median(table)
    with np.errstate(invalid="ignore", over="ignore"):
        inside = np.abs(row_median(packed(values, first + half, last)) - row_median(packed(values, first, first + half)))
    total, count = _totals(values, weight, first, last)
    return middle, total, _clipped_sigma(table, middle), count, inside


def packed(values: Floats, first: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
    """The finite values of each part `first <= row < last`, shape (parts, most values of any); NaN behind them."""
    lengths = np.maximum(last - first, 0)
    if len(first) and (lengths == lengths[0]).all():
        table = _together(values, first, last) if lengths[0] else np.empty((len(first), 0))
        if np.isfinite(table).all():
            return table
    rows, lengths = rows_of(first, last)
    part = np.repeat(np.arange(len(first)), lengths)
    known = np.isfinite(values[rows])
    count = np.bincount(part[known], minlength=len(first))
    out = np.full((len(first), int(count.max(initial=0))), np.nan)
    place = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    out[part[known], place] = values[rows][known]
    return out


def _together(values: Floats, first: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
    """The rows of parts of equal length, shape (parts, length); without a copy where they lie side by side."""
    if (first[1:] == last[:-1]).all():
        return values[first[0] : last[-1]].reshape(len(first), -1)
    return values[first[:, None] + np.arange(last[0] - first[0])]


def rows_of(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of all parts `first <= row < last`, one part after the other, and how many each has."""
    lengths = np.maximum(last - first, 0)
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1])) + np.repeat(first - (ends - lengths), lengths), lengths


def _totals(values: Floats, weight: Floats, first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(weighted mean of each part, NaN where nothing has a weight, number of finite values)."""
    if len(first) and last[0] > first[0] and (last - first == last[0] - first[0]).all():
        table, weights = _together(values, first, last), _together(weight, first, last)
        if np.isfinite(table).all():
            total = weights.sum(axis=1)
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                out = np.where(total > 0, (table * weights).sum(axis=1) / total, np.nan)
            return out, np.full(len(first), float(table.shape[1]))
    rows, lengths = rows_of(first, last)
    part = np.repeat(np.arange(len(first)), lengths)
    known = np.isfinite(values[rows])
    rows, part = rows[known], part[known]
    total = np.bincount(part, weights=weight[rows], minlength=len(first))
    summed = np.bincount(part, weights=values[rows] * weight[rows], minlength=len(first))
    count = np.bincount(part, minlength=len(first)).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, summed / total, np.nan), count


def _clipped_sigma(table: Floats, middle: Floats) -> Floats:
    """Nearly as efficient as a standard deviation on normal values, and deaf to single outliers; of each row of `packed`."""
    with np.errstate(invalid="ignore", over="ignore"):
        off = table - middle[:, None]
        sigma = MAD_TO_SIGMA * row_median(np.abs(off))
        near = np.isfinite(off) & ((np.abs(off) <= 3 * sigma[:, None]) | ~(sigma[:, None] > 0))
        count = near.sum(axis=1)
        off = np.where(near, off, 0.0)
        mean = off.sum(axis=1) / np.maximum(count, 1)
        spread = np.sqrt((np.where(near, off - mean[:, None], 0.0) ** 2).sum(axis=1) / np.maximum(count, 1))
    return np.where(count > 1, spread, np.nan)


def shifts(
    seen: Levels,
    *,
    least: float,
    least_t: float = 8.0,
    least_p: float = 1e-6,
    least_count: int = 5,
    beyond_inside: float = 1.5,
    beyond_others: float = 4.0,
    tolerance: float = 1e-9,
) -> list[int]:
    """Boundaries k at which the level of epoch k + 1 differs from that of epoch k for good (or for whole epochs).

    Where few batches of each epoch were read and single epochs show nothing, neighbouring epochs are taken together; where
    next to none were read after it, that each of them lies far off.

    Args:
        seen: levels of one signal.
        least: smallest difference, in units of the signal.
        least_t: it must be this many standard errors of the two medians.
        least_p: and so many that Student's t with the batches there are does it no more often than this.
        least_count: batches that both epochs must have.
        beyond_inside: and this many times what the halves of either epoch differ by, or it happened inside one.
        beyond_others: and this many times the median difference at the other boundaries: a level that drifts by as much at
            every boundary takes no step.
        tolerance: differences below this part of the level are rounding.
    """
    move, total = np.diff(seen.middle), np.diff(seen.total)
    error = 1.2533 * seen.noise / np.sqrt(np.maximum(seen.count, 1))
    count = np.minimum(seen.count[:-1], seen.count[1:])
    allowed = least_t * np.hypot(error[:-1], error[1:])
    with np.errstate(invalid="ignore"):
        large = (count >= least_count) & (np.abs(move) >= np.fmax(least, allowed))
    out = []
    for k in np.flatnonzero(large).tolist():
        size = abs(move[k])
        needed = allowed[k] / least_t * needed_t(seen.count[k] + seen.count[k + 1] - 2, least_t, least_p)
        halves = float(np.fmax(seen.inside[k], seen.inside[k + 1]))
        others = finite(np.abs(np.delete(move, k)))
        usual = float(np.median(others)) if len(others) else 0.0
        same_way = total[k] * move[k] > 0 and abs(total[k]) >= 0.5 * size
        enough = size >= max(least, needed, beyond_inside * halves, tolerance * abs(seen.middle[k]))
        if enough and same_way and size >= beyond_others * usual:
            out.append(k)
    found = [k for i, k in enumerate(out) if _stays(seen.middle, k, out[i + 1] if i + 1 < len(out) else len(move))]
    if found:
        return found
    smallest = max(least, tolerance * abs(median(seen.middle)))
    together = pooled_shifts(seen, smallest, least_t, least_p, least_count, beyond_others=beyond_others)
    return together or late_shift(seen, least=smallest)


def _stays(middle: Floats, k: int, until: int) -> bool:
    """True if the epochs after boundary k, up to the next shift, lie nearer to the new level than to the old one."""
    later = middle[k + 1 : until + 1]
    later = later[np.isfinite(later)]
    return bool((np.abs(later - middle[k + 1]) < np.abs(later - middle[k])).all())


def noise_ratio(seen: Levels, k: int, others: list[int]) -> tuple[float, float]:
    """(log of noise after over noise before boundary k, its standard error), over all epochs up to the next shifts.

    `others` are the other shifts. The logarithm of a standard deviation of n normal values has a variance of 1 / 2n; 0.7 / n
    allows for tails.
    """
    first = max((j + 1 for j in others if j < k), default=0)
    last = min((j for j in others if j > k), default=len(seen.noise) - 1)
    sides = []
    for part in (slice(first, k + 1), slice(k + 1, last + 1)):
        known = seen.noise[part] > 0
        sides.append((median(seen.noise[part][known]), float(seen.count[part][known].sum())))
    (before, n), (after, m) = sides
    if not before > 0 or not after > 0:
        return 0.0, math.inf
    return math.log(after / before), math.sqrt(0.7 * (1 / n + 1 / m))
