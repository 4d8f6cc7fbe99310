"""Batches whose class mix is unlike that of the run: by distance, and by how improbable it is."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.content import known_shares, sample_weights
from tb_losslens.analysis.outliers import Rows, away_from_usual, standing_apart
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.tails import binomial_sf
from tb_losslens.store.run import Run


def class_distance(run: Run, *, least_count: float = 1.0) -> Floats:
    """How unlike the run the class mix of each batch is, in robust standard deviations, shape (n,).

    Pearson's chi-square of the batch against the shares of the whole run. Classes of which a batch would hold less than
    `least_count` samples are taken together, or one rare sample would count for much.
    """
    size = sample_weights(run)
    shares = known_shares(run)
    known = np.isfinite(shares).all(axis=1) & (size > 0)
    if shares.shape[1] < 2 or not known.any():
        return np.full(len(size), np.nan)
    usual = np.average(shares[known], axis=0, weights=size[known])
    common = usual * median(size[known]) >= least_count
    part = np.append(usual[common], max(0.0, 1 - float(usual[common].sum())))
    seen = np.column_stack([shares[:, common], 1 - shares[:, common].sum(axis=1)])
    kept = part > 1e-9
    chi = size * ((seen[:, kept] - part[kept]) ** 2 / part[kept]).sum(axis=1)
    # where most batches hold as many of a rare class, the spread between them collapses; drawn at random, the root of
    # chi-square has a standard deviation of at least 1/sqrt(2) times that of one free class
    out = away_from_usual(np.sqrt(chi), least=math.sqrt(0.5))
    even = np.sqrt(chi) <= median(np.sqrt(chi))
    return np.where(even, 0.0, out)  # a mix that is too even is no harm


def improbable_mixes(run: Run, distance: Floats, most: float, *, level: float = 0.01) -> Rows:
    """Batches that stand apart by a gap, each with more samples of one class than any batch of the run has by chance.

    How classes are drawn is known where samples are mixed, so no tail has to be fitted: the binomial law of the most
    surprising class, times classes and batches. Where samples are not mixed there is no gap.
    """
    rows = standing_apart(distance, most=most, expected=math.inf)
    if not len(rows):
        return rows
    size, shares = sample_weights(run), known_shares(run)
    known = np.isfinite(shares).all(axis=1) & (size > 0)
    usual = np.average(shares[known], axis=0, weights=size[known])
    count = np.round(shares[rows] * size[rows, None])
    p = np.asarray(binomial_sf(count - 1, size[rows, None], usual[None, :])).min(axis=1) * shares.shape[1] * len(run)
    return rows if (p < level).all() else rows[:0]
