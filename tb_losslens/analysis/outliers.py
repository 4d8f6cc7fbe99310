"""Which values stand apart from the rest: by a gap, and beyond what the tail of the rest leads one to expect."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.stats import MAD_TO_SIGMA, Floats, finite, median, row_median
from tb_losslens.store.run import Run

Rows = NDArray[np.int64]


def standing_apart(
    size: Floats, *, least: float = 8.0, gap: float = 2.0, tail: float = 0.05, expected: float = 0.01, most: float = 0.1
) -> Rows:
    """Rows whose value stands apart, in order; empty if none does.

    Args:
        size: shape (n,), distance of each value from the usual in robust standard deviations; NaN where unknown.
        least: nothing below this stands apart.
        gap: the smallest of those apart is this many times the largest of the rest.
        tail: part of the rest that its tail is fitted on (at least 20 values).
        expected: how many values such a tail would put as far out; heavy tails make gaps by chance.
        most: at most this part of all values can stand apart from the others.
    """
    fine = np.isfinite(size)
    with np.errstate(invalid="ignore"):
        far = int(np.count_nonzero((size >= least) & fine))
    known = np.flatnonzero(fine) if far else np.empty(0, dtype=np.int64)
    if len(known) < 40:
        return np.empty(0, dtype=np.int64)
    limit = int(most * len(known))
    order = _largest(size, known, min(far, limit) + 2 + _tail_count(len(known), tail))
    values = size[order]
    top = values[:limit]
    rest = np.maximum(values[1 : limit + 1], 1.0)
    top = top[: len(rest)]
    candidates = np.flatnonzero((top >= least) & (top >= gap * rest))
    for k in candidates[::-1]:  # the largest group first
        if _beyond_tail(values, int(k) + 1, len(known), tail) <= expected:
            return np.sort(order[: int(k) + 1]).astype(np.int64)
    return np.empty(0, dtype=np.int64)


def _largest(size: Floats, rows: Rows, count: int) -> Rows:
    """The `count` of `rows` with the largest values, in falling order; of equal ones the earlier row first."""
    if count < len(rows):
        values = size[rows]
        least = np.partition(values, len(rows) - count)[len(rows) - count]
        rows = rows[values >= least]
    out: Rows = rows[np.argsort(-size[rows], kind="stable")][:count]
    return out


def _tail_count(size: int, part: float) -> int:
    """Values of a tail."""
    return max(20, int(part * size))


@dataclass(frozen=True)
class _Tail:
    """The tail of some values: the `count` largest, over the next one (`limit`); it is heavy where a power law fits it."""

    count: int
    limit: float
    mean: float
    heavy: bool

    def move(self, low: float, high: float) -> float:
        """How far it is from `low` to `high`, in means of what a value exceeds `limit` by (of logarithms if heavy)."""
        step = math.log(high / low) if self.heavy else (high - low) / self.limit
        return step / self.mean


def _tail_of(rest: Floats, size: int, part: float, *, better: float = 4.0) -> _Tail | None:
    """Fitted on the largest of `size` values, in falling order; None for too few.

    The tail is a power law (Hill's estimator). It is an exponential where that is clearly likelier, by `better` in the log
    likelihood: a power law fitted on normal values expects far too much far out.
    """
    count = _tail_count(size, part)
    if len(rest) <= count or rest[count] <= 0:
        return None
    above = np.maximum(rest[:count], 1e-12) / rest[count]
    spread, excess = float(np.mean(np.log(above))), float(np.mean(above - 1))
    if spread <= 0:
        return None
    power, exponential = -math.log(spread) - spread, -math.log(excess)  # log likelihood for each value, less what both have
    heavy = count * (exponential - power) <= better
    return _Tail(count, float(rest[count]), spread if heavy else excess, heavy)


def _beyond_tail(values: Floats, apart: int, size: int, tail: float) -> float:
    """How many of `size` values the tail of the rest puts at or beyond the smallest of those apart."""
    fitted = _tail_of(values[apart:], size - apart, tail)
    return 0.0 if fitted is None else fitted.count * math.exp(-fitted.move(fitted.limit, float(values[apart - 1])))


def gap_by_chance(size: Floats, apart: Rows, causes: Callable[[Rows], int], *, tail: float = 0.05) -> float:
    """How often as many of the largest lie as far beyond the next one where all have one tail.

    With a power law X_k / X_(k + 1), the ratio of the k-th largest to the next, exceeds r with probability r^(-k alpha); the
    exponents of the next m such ratios give alpha, which it is then not sure of: (1 + k alpha log r / m)^(-m).

    Args:
        size: shape (n,), as `standing_apart` takes it.
        apart: its rows that stand apart.
        causes: how many independent values there are behind some rows: one sample that comes again puts many rows far out.
        tail: part of the rest that its tail is fitted on.

    References:
        Rényi, On the theory of order statistics, 1953.
    """
    others = np.setdiff1d(np.flatnonzero(np.isfinite(size)), apart)
    order = _largest(size, others, _tail_count(len(others), tail) + 1)
    fitted = _tail_of(size[order], len(others), tail)
    if fitted is None or not len(apart):
        return 0.0
    k, m = causes(apart), causes(np.sort(order[: fitted.count]))
    move = fitted.move(max(float(size[order[0]]), fitted.limit), float(size[apart].min()))
    rank = np.arange(1, m + 1)
    seen = float(np.mean(rank / (k + rank)))  # the tail was fitted as if those apart were none of it, which makes it shorter
    return float((1 + k * max(0.0, move) * seen / m) ** -m)


def until_usual_again(rows: Rows, known: NDArray[np.bool_]) -> Rows:
    """`rows` without those after which no batch with usual inputs was read, though others were left out since.

    Where every batch that was read since lies far off, the inputs may have changed for good: that is no bad batch.
    """
    usual = np.setdiff1d(np.flatnonzero(known), rows)
    last = int(usual[-1]) if len(usual) else -1
    tail = rows[rows > last]
    if not len(tail) or known[int(tail[0]) :].all():
        return rows
    return rows[rows <= last]


def away_from_usual(values: Floats, weight: Floats | None = None, *, least: float = 0.0) -> Floats:
    """Distance of each value from the median of all, in robust standard deviations, shape (n,); NaN where unknown.

    Where most values are equal their MAD is 0 and says nothing: the plain standard deviation of all then stands for it.
    `least` is a standard deviation that chance alone gives.
    With `weight` (samples of each batch) the mean of few samples is allowed to stray further, by sqrt(median / weight).
    """
    known = finite(values)
    if len(known) < 3:
        return np.full(len(values), np.nan)
    middle = median(known)
    sigma = MAD_TO_SIGMA * median(np.abs(known - middle))
    if sigma <= 1e-6 * abs(middle):
        sigma = float(known.std())
    sigma = max(sigma, least, 1e-6 * abs(middle), 1e-12)
    out: Floats = np.abs(values - middle)
    out /= sigma
    if weight is not None:
        usual = median(weight)
        allowed = allowed_by_size(weight, usual if math.isfinite(usual) else 1.0)
        out = out if allowed is None else out / allowed
    return out


def allowed_by_size(size: Floats, usual: float) -> Floats | None:
    """How many times further the mean of a batch may stray than that of `usual` samples; None where no batch is smaller."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if usual > 0 and bool((size >= usual).all()):
            return None
        return np.asarray(np.sqrt(np.maximum(1.0, usual / size)), dtype=np.float64)


def local_level(values: Floats, *, block: int = 50) -> tuple[Floats, Floats]:
    """Level and robust standard deviation around each row, both shape (n,).

    Medians over blocks; each row takes the middle one of its own block and the two beside it, so that a bad block does not
    hide itself. Where values are not finite the blocks are of those that are, and the others get what the known one before
    them has.
    """
    n = len(values)
    fine = np.isfinite(values)
    if not fine.all() and fine.any():
        known = np.flatnonzero(fine)
        level, sigma = local_level(values[known], block=block)
        nearest = np.maximum(np.searchsorted(known, np.arange(n), side="right") - 1, 0)
        return level[nearest], sigma[nearest]
    if n == 0:
        return np.empty(0), np.empty(0)
    blocks = max(1, n // block)
    edges = np.linspace(0, n, blocks + 1).astype(np.int64)
    widths = np.diff(edges)
    level, sigma = np.empty(blocks), np.empty(blocks)
    for width in {*widths.tolist()}:  # one or two: they differ by 1 at most
        mine = np.flatnonzero(widths == width)
        table = values.reshape(blocks, width) if len(mine) == blocks else values[edges[mine][:, None] + np.arange(width)]
        level[mine] = row_median(table)
        sigma[mine] = MAD_TO_SIGMA * row_median(np.abs(table - level[mine][:, None]))
    near = np.clip(np.arange(blocks)[:, None] + np.array([-1, 0, 1]), 0, blocks - 1)
    each = widths if len({*widths.tolist()}) > 1 else int(widths[0])
    return np.repeat(_lower_median(level[near]), each), np.repeat(_lower_median(sigma[near]), each)


def level_at(values: Floats, row: int, *, block: int = 50) -> tuple[float, float]:
    """What `local_level` gives for one row, from three blocks only; NaN where no value is finite."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return math.nan, math.nan
    at = max(int(np.searchsorted(known, row, side="right")) - 1, 0)
    blocks = max(1, len(known) // block)
    edges = np.linspace(0, len(known), blocks + 1).astype(np.int64)
    mine = int(np.searchsorted(edges, at, side="right")) - 1
    levels, sigmas = [], []
    for each in np.clip([mine - 1, mine, mine + 1], 0, blocks - 1).tolist():
        part = values[known[edges[each] : edges[each + 1]]]
        levels.append(median(part))
        sigmas.append(MAD_TO_SIGMA * median(np.abs(part - levels[-1])))
    return sorted(levels)[1], sorted(sigmas)[1]


@once_a_run
def loss_level(run: Run) -> tuple[Floats, Floats]:
    """`local_level` of the loss."""
    return local_level(run.loss)


def _lower_median(rows: Floats) -> Floats:
    """Middle one of the finite values of each row, the lower of two, shape (r, c) -> (r,); NaN for none."""
    ordered = np.sort(np.where(np.isfinite(rows), rows, np.nan), axis=1)  # NaN sorts last
    count = np.isfinite(ordered).sum(axis=1)
    out: Floats = ordered[np.arange(len(rows)), np.maximum(count - 1, 0) // 2]
    return out


def spans(rows: Rows, *, join: int = 2) -> list[tuple[int, int]]:
    """Groups of rows no more than `join` apart, as (first, last) with the last one in it."""
    if len(rows) == 0:
        return []
    breaks = np.flatnonzero(np.diff(rows) > join)
    firsts, lasts = rows[np.concatenate([[0], breaks + 1])], rows[np.concatenate([breaks, [len(rows) - 1]])]
    return [(int(a), int(b)) for a, b in zip(firsts, lasts, strict=True)]
