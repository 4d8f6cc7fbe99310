"""Chooses what of a long series is drawn: buckets with their mean and extremes, or evenly spread rows.

Everything here returns positions or per-bucket statistics; no series is ever interpolated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class BucketStats(NamedTuple):
    """Statistics of each bucket over its finite values; all float64, shape (buckets,), NaN where a bucket has none."""

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def bucket_starts(first: int, last: int, limit: int) -> NDArray[np.int64]:
    """First row of each of at most `limit` buckets that cover the rows `first <= row < last`.

    Buckets hold the same number of rows and begin at multiples of it, so that the picture does not shimmer when a
    reader pans; only the first and the last may be shorter. Rows that fit one by one get a bucket each.

    Returns:
        int64, shape (buckets,), strictly increasing, beginning with `first`; empty if the range is.

    Raises:
        ValueError: if `limit` is below 2.
    """
    if limit < 2:
        raise ValueError(f"at least 2 buckets are needed to show a range, got {limit}")
    if last <= first:
        return np.empty(0, dtype=np.int64)
    if last - first <= limit:
        return np.arange(first, last, dtype=np.int64)
    whole = limit if first == 0 else limit - 1  # an unaligned start costs one bucket
    size = -(-(last - first) // whole)
    aligned = np.arange(first - first % size, last, size, dtype=np.int64)
    aligned[0] = first
    return aligned


def bucket_stats(values: NDArray[Any], starts: NDArray[np.int64], last: int) -> BucketStats:
    """Mean, minimum and maximum of the finite values in each bucket, in one pass without a Python loop.

    Args:
        values: shape (n,), of the whole series; not only of the range.
        starts: from `bucket_starts`.
        last: end of the last bucket (not in it).
    """
    if not len(starts):
        return BucketStats(np.empty(0), np.empty(0), np.empty(0))
    part = values[starts[0] : last].astype(np.float64, copy=False)
    edges = starts - starts[0]
    finite = np.isfinite(part)
    if finite.all():
        count = np.diff(edges, append=len(part)).astype(np.float64)
        total = np.add.reduceat(part, edges)
        return BucketStats(total / count, np.minimum.reduceat(part, edges), np.maximum.reduceat(part, edges))
    count = np.add.reduceat(finite, edges, dtype=np.float64)
    total = np.add.reduceat(np.where(finite, part, 0.0), edges)
    known = count > 0
    mean = np.divide(total, count, out=np.full(len(edges), np.nan), where=known)
    low = np.minimum.reduceat(np.where(finite, part, np.inf), edges)
    high = np.maximum.reduceat(np.where(finite, part, -np.inf), edges)
    return BucketStats(mean, np.where(known, low, np.nan), np.where(known, high, np.nan))


def spread(count: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` of the positions 0..count-1, evenly spread, with the first and the last among them.

    Returns:
        int64, strictly increasing; all positions if they fit, none if `count` is 0.
    """
    if count <= limit:
        return np.arange(count, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.int64))


def strongest(strength: NDArray[np.float64], limit: int) -> NDArray[np.int64]:
    """Positions of the at most `limit` largest |strength|, in their own order; unknown (NaN) counts as the weakest."""
    if len(strength) <= limit:
        return np.arange(len(strength), dtype=np.int64)
    size = np.nan_to_num(np.abs(strength), nan=-1.0, posinf=np.finfo(np.float64).max)
    return np.sort(np.argpartition(-size, limit)[:limit])
