"""Whether a signal of which next to nothing was read after a boundary lies far off there, in epoch after epoch."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.epoch_pool import Levels
from tb_losslens.analysis.stats import median


def late_shift(
    seen: Levels,
    *,
    least: float,
    sigmas: float = 20.0,
    chance: float = 1e-4,
    alike: float = 0.25,
    few: int = 5,
    least_epochs: int = 2,
) -> list[int]:
    """The boundary from which on every batch that was read lies far off, all on one level; empty without one.

    Where a busy machine lets the recorder read two batches in seven epochs there is no noise on that side to test with. But
    drawn in any order, n late batches are the n farthest of all N by chance once in C(N, n) times only.

    Args:
        seen: levels of one signal.
        least: smallest difference, in units of the signal.
        sigmas: it must be this many standard deviations of a single batch before, which asks for no law of their tails.
        chance: and the late batches so many that they are the farthest of all by chance no more often than this.
        alike: they lie on one level: by this part of the step, no further apart.
        few: of each epoch after it fewer batches than this were read; with more of them there are better tests.
        least_epochs: epochs after the boundary of which batches were read; a span of bad batches may fill one.
    """
    read = np.flatnonzero(np.isfinite(seen.middle) & (seen.count > 0))
    if len(read) < least_epochs + 1:
        return []
    for late in range(least_epochs, len(read)):
        before, after = read[:-late], read[-late:]
        k = int(before[-1])
        n, rest = int(seen.count[after].sum()), int(seen.count[before].sum())
        sigma = median(seen.noise[before])
        if after[0] != k + 1 or not sigma > 0 or seen.count[after].max() >= few or 1 / math.comb(n + rest, n) > chance:
            continue
        old = seen.middle[before]
        new = seen.middle[after]
        step = abs(median(new) - median(old))
        near = min(abs(float(value) - median(old)) for value in new)
        spread = max(float(np.ptp(old)), float(np.ptp(new)))
        if near >= max(least, sigmas * sigma) and spread <= alike * step:
            return [k]
    return []
