"""How far shuffling moved the samples of an epoch from the order of the data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.stats import rank_correlation


@dataclass(frozen=True)
class Displacement:
    """What is left of the order of the data set in one epoch.

    Attributes:
        samples: ids in the epoch.
        correlation: Spearman's rho of id and batch; 0 for a full shuffle, with a standard deviation of 1/sqrt(samples).
        buffer: size of the shuffle buffer that would leave this, in samples; NaN where nothing is left of the order.
        neighbours: part of the pairs in a row whose ids follow each other; 0 where the batches hold no more neighbours than
            by chance, since the order within a batch means nothing.
    """

    samples: int
    correlation: float
    buffer: float
    neighbours: float


def displacement(ids: NDArray[np.int64], batch: NDArray[np.int64], *, least: int = 32) -> Displacement | None:
    """From the sample ids in the order in which they came and the number of the batch of each, both shape (n,).

    None below `least`, for one id only, or for one batch: a step takes the mean over its batch, in which no order is left.

    A buffer of B samples that hands out a random one and fills its place delays each sample by a geometric number of
    places with mean B. The quartiles of an exponential distribution lie B ln 3 apart, whatever its start, and a few
    samples that wait for ever do not move them.
    """
    if len(ids) < least:
        return None
    correlation, _ = rank_correlation(ids, batch)
    if math.isnan(correlation):
        return None
    position = np.arange(len(ids))
    rank = np.empty(len(ids), dtype=np.int64)
    rank[np.argsort(ids, kind="stable")] = position
    low, high = np.quantile(position - rank, [0.25, 0.75])
    neighbours = float((np.diff(ids) == 1).mean()) if _share_batches(ids, batch) else 0.0
    buffer = float(high - low) / math.log(3)
    return Displacement(len(ids), correlation, buffer if buffer < len(ids) / 3 else math.nan, neighbours)


def _share_batches(ids: NDArray[np.int64], batch: NDArray[np.int64], *, sigmas: float = 6.0) -> bool:
    """True if the next larger id is in the same batch, or in the one after, more often than for batches drawn at random."""
    unique, first = np.unique(ids, return_index=True)
    own = batch[first]
    sizes = np.bincount(own - own.min()).astype(np.float64)
    pairs = len(unique) * (len(unique) - 1)
    chance = float((sizes * (sizes - 1)).sum() + (sizes[:-1] * sizes[1:]).sum()) / pairs
    step = np.diff(own)
    share = float(((step == 0) | (step == 1)).mean())
    return share - chance > sigmas * math.sqrt(chance * (1 - chance) / len(step))
