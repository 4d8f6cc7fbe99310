"""Small statistics that stay right with outliers, gaps and few values. All ignore values that are not finite."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.tails import binomial_cdf, normal_sf

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

Floats = NDArray[np.float64]

_IN_CACHE = 1 << 16
"""Values that are summed at a time, for the cache of a processor."""

_MANY = 50
"""Values from which on scipy takes the normal law for the signed ranks, too."""


def finite(values: NDArray[Any]) -> Floats:
    """The finite values, float64, flat; where all are, `values` themselves, to which nobody may write."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    known = np.isfinite(flat)
    return flat if known.all() else flat[known]


def middle(known: Floats) -> float:
    """Median of values that are all finite, shape (n,), n > 0.

    `np.median` looks for two or three places at once, for which numpy has no fast path: one place takes a sixth of the time.
    """
    half = len(known) // 2
    ordered = np.partition(known, half)
    upper = float(ordered[half])
    return upper if len(known) % 2 else (float(ordered[:half].max()) + upper) / 2


def median(values: NDArray[Any]) -> float:
    """Median of the finite values; NaN if there is none."""
    known = finite(values)
    return middle(known) if len(known) else math.nan


def mean(values: NDArray[Any]) -> float:
    """Mean of the finite values; NaN if there is none, infinite where the sum is too large for a float."""
    known = finite(values)
    with np.errstate(over="ignore"):
        return float(known.mean()) if len(known) else math.nan


def robust_sigma(values: NDArray[Any]) -> float:
    """1.4826 MAD of the finite values; NaN if there are fewer than 2."""
    known = finite(values)
    if len(known) < 2:
        return math.nan
    return MAD_TO_SIGMA * middle(np.abs(known - middle(known)))


def noise(values: NDArray[Any]) -> float:
    """Standard deviation from batch to batch, shape (n,) -> units of `values`; NaN below 3 finite values.

    1.4826 MAD of the first differences over sqrt 2: a trend over many batches does not enter.
    """
    known = finite(values)
    if len(known) < 3:
        return math.nan
    return MAD_TO_SIGMA * middle(np.abs(np.diff(known))) / math.sqrt(2)


def row_median(rows: Floats) -> Floats:
    """Median of the finite values of each row, shape (r, c) -> (r,); NaN for a row without any.

    `np.nanmedian` warns on empty rows and loops over long ones in Python.
    """
    return row_quantile(rows, 0.5)


def row_quantile(rows: Floats, q: float) -> Floats:
    """Quantile `q` (linear between neighbours) of the finite values of each row, shape (r, c) -> (r,)."""
    if rows.shape[0] == 0 or rows.shape[1] == 0:
        return np.full(rows.shape[0], np.nan)
    block = max(1, _IN_CACHE // rows.shape[1])
    if len(rows) > 2 * block:  # copies of a large table are mostly page faults
        return np.concatenate([row_quantile(rows[k : k + block], q) for k in range(0, len(rows), block)])
    if np.isfinite(rows).all():  # to find a place takes a fraction of the time of a whole order
        at = q * (rows.shape[1] - 1)
        low = math.floor(at)
        if at == low:
            return np.asarray(np.partition(rows, low, axis=1)[:, low].copy(), dtype=np.float64)
        ordered = np.partition(rows, low + 1, axis=1)  # one place at a time: two take six times as long
        return np.asarray(ordered[:, : low + 1].max(axis=1) * (1 - (at - low)) + ordered[:, low + 1] * (at - low))
    ordered = np.sort(np.where(np.isfinite(rows), rows, np.nan), axis=1)  # NaN sorts last
    count = np.isfinite(ordered).sum(axis=1)
    at = q * np.maximum(count - 1, 0)
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    every = np.arange(len(rows))
    part = at - low
    out: Floats = ordered[every, low] * (1 - part) + ordered[every, high] * part
    return out


def row_sigma(rows: Floats) -> Floats:
    """1.4826 MAD of each row's finite values, shape (r, c) -> (r,)."""
    return MAD_TO_SIGMA * row_median(np.abs(rows - row_median(rows)[:, None]))


def moving_sum(values: NDArray[Any], m: int) -> Floats:
    """Sums of `m` neighbours, shape (n,) -> (max(n - m + 1, 0),); element i sums `values[i:i + m]`.

    Built from sums of 1, 2, 4, ... neighbours, so that one huge value disturbs only the windows that hold it; a
    difference of cumulative sums would lose every later one.
    """
    n = len(values)
    if m > n:
        return np.empty(0)
    each = max(_IN_CACHE, 8 * m)
    if n > 2 * each:
        return np.concatenate([moving_sum(values[k : k + each + m - 1], m) for k in range(0, n - m + 1, each)])
    power = values.astype(np.float64)
    total = np.zeros(n - m + 1)
    width, done = 1, 0
    while True:
        if m & width:
            total += power[done : done + n - m + 1]
            done += width
        if width * 2 > m:
            return total
        power = power[:-width] + power[width:]
        width *= 2


def moving_mean(values: Floats, m: int) -> Floats:
    """Means of `m` neighbours, shape as `moving_sum`; NaN where fewer than half of them are finite."""
    known = np.isfinite(values)
    with np.errstate(over="ignore", invalid="ignore"):
        if known.all():
            total = moving_sum(values, m)
            total /= m
            return total
        count = moving_sum(known, m)
        total = moving_sum(np.where(known, values, 0.0), m)
        return np.where(2 * count >= m, total / np.maximum(count, 1), np.nan)


def sign_test(values: NDArray[Any]) -> tuple[int, int, float]:
    """How many values are above and below 0, and the two-sided exact binomial p; p is 1 if there is none."""
    known = finite(values)
    up, down = int((known > 0).sum()), int((known < 0).sum())
    if up + down == 0:
        return up, down, 1.0
    p = 2 * float(binomial_cdf(min(up, down), up + down, 0.5))
    return up, down, min(1.0, p)


def signed_rank_p(values: NDArray[Any]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that the finite values are symmetric about 0; 1 if all are 0.

    It uses the sizes as well as the signs, so 8 of 9 on one side with a small exception still count, and an outlier
    counts no more than the largest rank. Needs 8 values for p < 0.01.
    """
    known = finite(values)
    known = known[known != 0]
    if not len(known):
        return 1.0
    if len(known) > _MANY:
        return _signed_rank_p_of_many(known)
    from scipy.stats import wilcoxon

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns that few values with ties have a rough p
        return min(1.0, float(wilcoxon(known).pvalue))


def _signed_rank_p_of_many(values: Floats) -> float:
    """The same by the normal law that the sum of the positive ranks comes close to; none of the values is 0."""
    ranks = ranks_of(np.abs(values))
    n = len(values)
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((ties**3 - ties).sum()) / 48
    z = (float(ranks[values > 0].sum()) - n * (n + 1) / 4) / math.sqrt(variance)
    return min(1.0, 2 * float(normal_sf(abs(z))))


def ranks_of(values: Floats) -> Floats:
    """Ranks from 1 on, the mean of their ranks for equal values; shape (n,)."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    out: Floats = (last - (count - 1) / 2)[which]
    return out


def rank_correlation(x: NDArray[Any], y: NDArray[Any]) -> tuple[float, float]:
    """Spearman's rho and its two-sided p over pairs of finite values; (NaN, 1) below 4 pairs or without variation."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan, 1.0
    from scipy.stats import spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns when the p-value underflows to 0
        result = spearmanr(x, y)
    return float(result.statistic), float(result.pvalue)


def rank_sum_p(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Two-sided Mann-Whitney p of the finite values of `x` against those of `y`; 1 if one of them has none."""
    x, y = finite(x), finite(y)
    if len(x) == 0 or len(y) == 0:
        return 1.0
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(x, y).pvalue)
