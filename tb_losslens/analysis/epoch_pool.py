"""Whether a signal of which few batches of each epoch were read takes another level: neighbouring epochs taken together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.tails import t_isf


@dataclass(frozen=True)
class Levels:
    """One signal over the epochs, arrays of shape (epochs,).

    Attributes:
        middle: median over batches.
        total: mean over batches, weighted by their samples.
        noise: standard deviation of batches within the epoch, without those beyond 3 robust ones.
        count: batches with a known value.
        inside: how far the medians of the two halves of the epoch lie apart.
    """

    middle: Floats
    total: Floats
    noise: Floats
    count: Floats
    inside: Floats


def needed_t(freedom: float, least_t: float, least_p: float) -> float:
    """Standard errors that Student's t with `freedom` exceeds with probability `least_p`, `least_t` at least."""
    return max(least_t, _quantile(max(1, int(freedom)), least_p))


@lru_cache(maxsize=4096)
def _quantile(freedom: int, p: float) -> float:
    return float(t_isf(p / 2, freedom))


def pooled_shifts(
    seen: Levels,
    least: float,
    least_t: float,
    least_p: float,
    least_count: int,
    *,
    beyond_others: float,
    wanted: float = 30.0,
    longest: int = 8,
    beyond_inside: float = 2.0,
    beyond_trend: float = 4.0,
    least_epochs: int = 2,
) -> list[int]:
    """Boundaries at which the level takes a step for good, with neighbouring epochs taken together; see `epoch_levels.shifts`.

    As many epochs on either side (`longest` at most) as have `wanted` batches; nothing where a single one has them. What the
    halves of either side differ by takes the place of the halves of an epoch. A level that drifts differs there by half as much
    as across the boundary, and in the same direction on both sides: hence the mean of both, times `beyond_trend`. That needs
    `least_epochs` on either side of which batches were read: a span of bad batches may fill one. Of boundaries closer than the
    epochs taken together only the clearest counts.
    """
    typical = float(seen.count.mean()) if len(seen.count) else 0.0
    if not 0 < typical < wanted:
        return []
    reach = int(np.clip(math.ceil(wanted / typical), 2, longest))
    here = pooled(seen, reach)
    size = np.abs(here.move)
    with np.errstate(invalid="ignore"):
        enough = np.fmax(least, least_t * here.error)
        large = (np.minimum(here.count, here.freedom) >= least_count) & (here.epochs >= least_epochs) & (size >= enough)
        large &= (here.total * here.move > 0) & (np.abs(here.total) >= 0.5 * size)
        large &= (size >= beyond_inside * here.halves) & (size >= beyond_trend * here.trend * np.sign(here.move))
    strength = np.zeros(len(size))
    for k in np.flatnonzero(large).tolist():
        apart = np.concatenate([size[: max(0, k - reach + 1)], size[k + reach :]])
        usual = median(apart)
        needed = needed_t(float(here.freedom[k]), least_t, least_p) * float(here.error[k])
        if size[k] >= max(needed, beyond_others * usual if math.isfinite(usual) else 0.0):
            strength[k] = size[k] / here.error[k] if here.error[k] > 0 else math.inf
    out: list[int] = []
    for k in np.argsort(-strength, kind="stable").tolist():
        if strength[k] > 0 and all(abs(k - j) >= reach for j in out):
            out.append(k)
    return sorted(out)


@dataclass(frozen=True)
class Pooled:
    """Several epochs after each boundary less several before it, arrays of shape (epochs - 1,).

    Attributes:
        move, total: of the medians and of the means, weighted by batches.
        error: standard error of `move`.
        freedom: degrees of freedom of the noise.
        halves: what the halves of either side differ by, the larger of both; 0 where there is one epoch.
        trend: the same with its sign, second half less first, the mean of both sides.
        count: batches on the side that has fewer.
        epochs: epochs of which batches were read, on the side that has fewer.
    """

    move: Floats
    total: Floats
    error: Floats
    freedom: Floats
    halves: Floats
    trend: Floats
    count: Floats
    epochs: Floats


def pooled(seen: Levels, reach: int) -> Pooled:
    """Contrasts of up to `reach` epochs on either side of each boundary."""
    k = np.arange(len(seen.middle) - 1)
    first, cut, last = np.maximum(0, k - reach + 1), k + 1, np.minimum(len(seen.middle), k + 1 + reach)
    count = np.where(np.isfinite(seen.middle), seen.count, 0.0)

    def over(values: Floats) -> Floats:
        """Sums up to each epoch, shape (epochs + 1,)."""
        return np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(values), values, 0.0))])

    n, middle, total = over(count), over(count * seen.middle), over(count * seen.total)

    def level(sums: Floats, a: NDArray[np.int64], b: NDArray[np.int64]) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((sums[b] - sums[a]) / (n[b] - n[a]))

    free = np.where(count > 1, count - 1, 0.0)
    freedom = over(free)
    squares = over(np.where(count > 1, count * seen.noise**2, 0.0))
    freedom_here = freedom[last] - freedom[first]
    left, right = n[cut] - n[first], n[last] - n[cut]
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.sqrt((squares[last] - squares[first]) / freedom_here)
        error = 1.2533 * noise * np.sqrt(1 / left + 1 / right)
    inner = [level(middle, (a + b) // 2, b) - level(middle, a, (a + b) // 2) for a, b in ((first, cut), (cut, last))]
    both = np.where(np.isfinite(inner), inner, 0.0)
    moves = [level(sums, cut, last) - level(sums, first, cut) for sums in (middle, total)]
    read = over((count > 0).astype(np.float64))
    epochs = np.minimum(read[cut] - read[first], read[last] - read[cut])
    return Pooled(
        moves[0], moves[1], error, freedom_here, np.abs(both).max(axis=0), both.mean(axis=0), np.minimum(left, right), epochs
    )
