"""Whether a signal of which next to nothing was read after a boundary lies far off there, in epoch after epoch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.epoch_pool import Levels
from tb_losslens.analysis.stats import Floats, median


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
    for late in _on_two_levels(seen.middle[read], alike).tolist():
        if late < least_epochs:
            continue
        if seen.count[read[-late:]].max() >= few:
            break
        before, after = read[:-late], read[-late:]
        k = int(before[-1])
        n, rest = int(seen.count[after].sum()), int(seen.count[before].sum())
        sigma = median(seen.noise[before])
        if after[0] != k + 1 or not sigma > 0 or 1 / math.comb(n + rest, n) > chance:
            continue
        old = seen.middle[before]
        new = seen.middle[after]
        step = abs(median(new) - median(old))
        near = min(abs(float(value) - median(old)) for value in new)
        spread = max(float(np.ptp(old)), float(np.ptp(new)))
        if near >= max(least, sigmas * sigma) and spread <= alike * step:
            return [k]
    return []


def _on_two_levels(values: Floats, alike: float) -> NDArray[np.int64]:
    """How many of the last of finite `values` may lie on one level and those before on another, in rising order.

    All that do are among them, and few others: neither side may range over more than `alike` of the farthest two of both.
    """
    low, high = np.minimum.accumulate(values)[:-1], np.maximum.accumulate(values)[:-1]
    lowest, highest = np.minimum.accumulate(values[::-1])[::-1][1:], np.maximum.accumulate(values[::-1])[::-1][1:]
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.maximum(highest - low, high - lowest)
        fits = (np.maximum(high - low, highest - lowest) <= alike * apart) & (apart > 0)
    return len(values) - 1 - np.flatnonzero(fits)[::-1]
