"""How much of the jumps at some boundaries a cause accounts for.

A jump counts as its distance from the median of its placebos, so that a falling curve is no jump.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.stats import finite, median, robust_sigma
from tb_losslens.analysis.tails import binomial_sf, t_sf
from tb_losslens.store.run import Run


def excess(boundary: Boundary) -> float:
    """Jump less the median of its placebos, in units of the loss; NaN where it was not measured."""
    return boundary.jump - (boundary.placebo_median if math.isfinite(boundary.placebo_median) else 0.0)


def typical_excess(boundaries: Iterable[Boundary]) -> float:
    """Median of `excess` over boundaries, NaN if none was measured."""
    return median(np.array([excess(boundary) for boundary in boundaries]))


def beyond_band(boundaries: Iterable[Boundary]) -> list[Boundary]:
    """Those whose jump lies outside of 95 % of the cuts inside the epochs that meet there."""
    return [b for b in boundaries if math.isfinite(b.z) and not b.placebo_low <= b.jump <= b.placebo_high]


def most_are_beyond(boundaries: Sequence[Boundary], *, least: int = 2, level: float = 0.01) -> bool:
    """True if half of the measured boundaries, `least` or more, lie outside of that band, and so many do not by chance.

    The band of few cuts is narrow: a further one lies outside of n independent ones in 2 of n + 1 cases. Of `placebo_count`
    cuts, a third of a window apart, a third count as independent. Asked is the binomial tail at that rate, below `level`.
    """
    outside = len(beyond_band(boundaries))
    if outside < least or 2 * outside < sum(math.isfinite(b.z) for b in boundaries):
        return False
    return outside_by_chance(boundaries)[1] < level


def outside_by_chance(boundaries: Sequence[Boundary]) -> tuple[float, float]:
    """(how many measured boundaries may lie outside of their bands where all is noise, p of as many as do); (0, 1) for none.

    An upper bound of both where the cuts are few, as `most_are_beyond` counts them.
    """
    measured = [b for b in boundaries if math.isfinite(b.z)]
    if not measured:
        return 0.0, 1.0
    rate, outside = _left_out(measured), len(beyond_band(measured))
    return len(measured) * rate, float(binomial_sf(outside - 1, len(measured), rate))


def _left_out(boundaries: Sequence[Boundary], *, band: float = 0.05) -> float:
    """Part of noise that lies outside of the bands of `boundaries`, on average: `band`, or more where the cuts are few."""
    rates = [max(band, min(1.0, 2 / (max(1.0, b.placebo_count / 3) + 1))) for b in boundaries]
    return float(np.mean(rates))


def not_clear(boundaries: Iterable[Boundary], *, limit: float = 3.0) -> list[Boundary]:
    """Those beyond `limit` and their band that do not count as a jump: too far out to be called noise without more."""
    return [b for b in beyond_band(boundaries) if abs(b.z) > limit and not b.significant]


def clear_where_named(
    context: Context, index: int, sign: int, *, tests: int = 1, level: float = 0.01, agrees: float = 0.05
) -> bool:
    """True if boundary `index`, which an event names before one looks, moves with `sign` beyond noise by itself.

    Its z is Student's t, whose degrees of freedom are those of its placebos (a third of them independent), in standard
    deviations of the z of the other boundaries where these are more than 1. The smallest p over the window sizes, times
    their number and that of the boundaries asked (`tests`), must be below `level`, and all sizes below `agrees`.
    """
    boundary = context.boundaries[index]
    freedom = max(3.0, boundary.placebo_count / 3 - 1)
    known = {m: z for m, z in boundary.z_by_m.items() if math.isfinite(z)}

    def clear(spread: dict[int, float]) -> bool:
        tails = [float(t_sf(sign * z / spread[m], freedom)) for m, z in known.items()]
        return len(tails) > 1 and max(tails) < agrees and min(tails) * len(tails) * tests < level

    if not clear(dict.fromkeys(known, 1.0)):  # a larger spread makes it no clearer, and takes all boundaries to be known
        return False
    rest = {m: finite(np.delete(context.z_by_size[m], index)) for m in known}
    return clear({m: max(1.0, robust_sigma(z)) if len(z) > 1 else 1.0 for m, z in rest.items()})


def jumps(context: Context, indices: Iterable[int], *, located_z: float = 3.5) -> bool:
    """True if the loss moves at boundaries that a recorded event singles out.

    Either one of them is significant by itself; or they are most of the boundaries and all together have a direction;
    or, since the event says where to look, their mean z lies `located_z` standard errors beyond the other boundaries in
    the same direction at two window sizes. The standard deviation of one z is 1, or that of the others if it is more.
    """
    chosen = [context.boundaries[k] for k in sorted(set(indices))]
    if any(boundary.significant for boundary in chosen):
        return True
    if len(chosen) > len(context.boundaries) / 2:
        return context.pooled.direction != 0
    taken = {boundary.index for boundary in chosen}
    scores = []
    for m in sorted({m for boundary in chosen for m in boundary.z_by_m}):
        here = finite(np.array([b.z_by_m.get(m, math.nan) for b in chosen]))
        rest = finite(np.array([b.z_by_m.get(m, math.nan) for b in context.boundaries if b.index not in taken]))
        if len(here) and len(rest) > 1:
            spread = max(1.0, robust_sigma(rest)) * math.sqrt(1 / len(here) + 1 / len(rest))
            scores.append((float(here.mean()) - median(rest)) / spread)
    return sum(score > located_z for score in scores) >= 2 or sum(score < -located_z for score in scores) >= 2


def boundaries_that_jump(context: Context) -> list[int]:
    """Rows of the boundaries at which the loss may jump by itself: the significant ones, or all where they have a direction.

    A comparison around an event inside an epoch must end there. At the others nothing happens, and it may go on across them:
    an event close to the end of an epoch would have hardly any batches after it. All of them where none was measured.
    """
    every = bool(context.pooled.reason) or context.pooled.direction != 0
    return [boundary.batch for boundary in context.boundaries if every or boundary.significant]


def is_gradual(context: Context, indices: Sequence[int], rows: int) -> bool:
    """True if all of so many `rows` at which the loss changes its level are boundaries, and it does not jump at them.

    It takes longer to follow than the windows beside a boundary are.
    """
    chosen = [context.boundaries[k] for k in indices]
    return bool(chosen) and len(chosen) == rows and not beyond_band(chosen) and not jumps(context, indices)


def with_loss(run: Run, loss: NDArray[np.float64]) -> Run:
    """The same run with another loss column, shape (n,)."""
    return replace(run, columns={**run.columns, "loss": loss})


def share_without(context: Context, loss: NDArray[np.float64], indices: Iterable[int]) -> float | None:
    """Part of the jumps at boundaries `indices` that is gone once the run's loss is replaced by `loss` (shape (n,)).

    The jumps are measured again by the same rules. 1 means that nothing is left, 0 that all of it is (or more). None
    where nothing was measured.
    """
    chosen = tuple(indices)
    again, _ = context.measure(with_loss(context.run, loss))
    before = typical_excess(context.boundaries[k] for k in chosen)
    after = typical_excess(again[k] for k in chosen if k < len(again))
    if not math.isfinite(before) or not math.isfinite(after) or before == 0:
        return None
    return float(np.clip(1 - after / before, 0.0, 1.0))


def share_against_rest(context: Context, indices: Iterable[int]) -> float | None:
    """Part of the typical jump at `indices` that the run's other boundaries do not have; None without others.

    Compared in z, because the scale of the loss may change over the run.
    """
    chosen = set(indices)
    here = median(np.array([b.z for b in context.boundaries if b.index in chosen]))
    rest = median(np.array([b.z for b in context.boundaries if b.index not in chosen]))
    if not math.isfinite(here) or not math.isfinite(rest) or here == 0:
        return None
    return float(np.clip(1 - rest / here, 0.0, 1.0))


def around(boundary: Boundary) -> tuple[int, int]:
    """The rows that the jump was measured on, for `Evidence.span`."""
    return max(0, boundary.batch - boundary.m), boundary.batch + boundary.m
