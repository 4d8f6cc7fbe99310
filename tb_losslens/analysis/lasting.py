"""Whether the level of the loss changes for good at a boundary: smaller than the noise of a few batches, but it stays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Cuts, Rows
from tb_losslens.analysis.cuts import initial_descent
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.shape import shape_of
from tb_losslens.analysis.stats import Floats, moving_mean, noise, robust_sigma


@dataclass(frozen=True)
class Level:
    """The change of level at one boundary over windows that are a large part of an epoch.

    Attributes:
        m: batches a side.
        z: distance of the change from its placebos, in their standard deviations; by size in `z_by_m`.
        placebos: the same change at cuts around, shape (k,), in the units of the loss.
    """

    m: int
    z: float
    z_by_m: dict[int, float]
    placebos: Floats


def lasting_levels(
    loss: Floats, cuts: Cuts, *, parts: tuple[int, int] = (4, 2), least: int = 8, clear_z: float = 5.0, most: int = 4096
) -> dict[int, Level]:
    """The boundaries at which the level changes clearly, by their index.

    Two windows, a quarter and a half of an epoch, must agree. The placebos are the same change at cuts half a window apart,
    from two to eight windows away on either side: they hold other boundaries as well, since nothing happens there by the
    hypothesis. A change must lie `clear_z` of their standard deviations away and beyond each of them, and be larger than a
    little before or after the boundary. The steep start of a curve does not count against a fall that comes after the curve
    has flattened (`initial_descent`).

    Args:
        loss: one value a batch, shape (n,).
        cuts: the boundaries; both epochs must have the usual length and a finite loss throughout.
        parts: windows, as parts of an epoch.
        least: batches of the smaller window.
        clear_z: robust standard deviations.
        most: boundaries that are asked, those with the largest changes for their noise.
    """
    sizes = [cuts.length // part for part in parts]
    if not len(cuts) or sizes[0] < least:
        return {}
    positive = bool((loss[np.isfinite(loss)] > 0).all())
    with np.errstate(invalid="ignore", divide="ignore"):
        used = np.log(loss) if positive else loss
    whole = (cuts.last - cuts.first >= sizes[1]) & (cuts.end - cuts.start >= sizes[1]) & (cuts.start == cuts.last)
    asked: dict[str, Any] = {"asked": whole, "sigma": _sigma(used), "clear_z": clear_z, "most": most}
    judged = [_judge(used, cuts.start, size, **asked) for size in sizes]
    clear = np.flatnonzero(np.logical_and.reduce([one.clear for one in judged]) & (judged[0].z * judged[1].z > 0))
    plain = moving_mean(loss, sizes[0])
    out = {}
    for k in clear.tolist():
        places = _places(int(cuts.start[k]), sizes[0], len(loss))
        with np.errstate(invalid="ignore", over="ignore"):
            placebos = plain[places] - plain[places - sizes[0]]
        z_by_m = {size: float(one.z[k]) for size, one in zip(sizes, judged, strict=True)}
        out[k] = Level(sizes[0], z_by_m[sizes[0]], z_by_m, placebos[np.isfinite(placebos)])
    return out


def over_more(boundary: Boundary, level: Level, loss: Floats, cuts: Cuts, *, limit: float = 6.0) -> Boundary:
    """The boundary as its change of level shows it, over more batches than a jump is measured with.

    As it is, where few batches show it as well, by `limit` of their placebos' standard deviations.
    """
    row, m, k = boundary.batch, level.m, boundary.index
    epochs = loss[cuts.first[k] : cuts.last[k]], loss[row : cuts.end[k]]
    if abs(boundary.z) > limit and boundary.z * level.z > 0:
        excess = boundary.jump - boundary.placebo_median
        return replace(boundary, shape=shape_of(*epochs, boundary.m, excess))
    before, after = float(np.nanmean(loss[row - m : row])), float(np.nanmean(loss[row : row + m]))
    middle, low, high = (float(np.quantile(level.placebos, q)) for q in (0.5, 0.025, 0.975))
    shape = shape_of(*epochs, m, after - before - middle)
    return replace(
        boundary, m=m, before=before, after=after, jump=after - before, z=level.z, z_by_m=level.z_by_m, shape=shape,
        placebo_low=low, placebo_high=high, placebo_median=middle, placebo_count=len(level.placebos),
        recovery=None, log_scale=False,
    )  # fmt: skip


@dataclass(frozen=True)
class _Judged:
    z: Floats
    clear: NDArray[np.bool_]


def _sigma(values: Floats, *, most: int = 200_000) -> float:
    """The noise from batch to batch, from at most so many pairs of neighbours."""
    first = np.arange(0, len(values) - 1, max(1, len(values) // most))
    values = np.where(np.isfinite(values), values, np.nan)
    return robust_sigma(values[first + 1] - values[first]) / math.sqrt(2)


def _judge(
    values: Floats, rows: Rows, size: int, *, asked: NDArray[np.bool_], sigma: float, clear_z: float, most: int
) -> _Judged:
    """The z and the verdict at each of `rows`, for one window size; `sigma`, the noise of the batches, rules out most."""
    means = moving_mean(values, size)
    change = _change(means, rows, size)
    z, clear = np.full(len(rows), np.nan), np.zeros(len(rows), dtype=bool)
    with np.errstate(invalid="ignore"):
        likely = np.flatnonzero(asked & (np.abs(change) > 0.5 * clear_z * sigma * math.sqrt(2 / size)))
    likely = likely[np.argsort(-np.abs(change[likely]))[:most]]
    for k in likely.tolist():
        around = values[max(0, rows[k] - 2 * size) : rows[k] + 2 * size]
        z[k], clear[k] = against_cuts(means, int(rows[k]), size, white=noise(around) * math.sqrt(2 / size), clear_z=clear_z)
    return _Judged(z, clear)


def against_cuts(
    means: Floats, row: int, size: int, *, white: float, clear_z: float, least: int = 10
) -> tuple[float, bool]:
    """(distance of the change of level at `row` from that at cuts around, in their standard deviations; whether it is clear).

    Args:
        means: moving means of `size` values, see `moving_mean`.
        row: first row after the change.
        size: of the window.
        white: standard deviation of the change that the noise of the batches alone makes.
        clear_z: distance from which on it is clear, where it is beyond each of the cuts, too.
        least: cuts; with fewer nothing is clear.
    """
    places = _places(row, size, len(means) + size - 1)
    here, there = float(_change(means, np.array([row]), size)[0]), _change(means, places, size)
    places, there = places[np.isfinite(there)], there[np.isfinite(there)]
    before = places < row
    if len(there) < least or min(before.sum(), (~before).sum()) < 3 or not np.isfinite(here):
        return np.nan, False
    middle = float(np.median(there))
    scale = max(robust_sigma(there), white)
    z = (here - middle) / scale if scale > 0 else 0.0
    if abs(z) <= clear_z or not _is_here(means, row, size):
        return z, False
    compared = there[~initial_descent(there, before, here)]
    return z, bool(here > compared.max() if z > 0 else here < compared.min())


def _is_here(means: Floats, row: int, size: int, *, near: float = 0.25) -> bool:
    """True if the change is largest within `near` of a window from `row`: else it lies inside one of the two epochs."""
    rows = np.arange(row - size, row + size + 1)
    size_of_change = np.abs(_change(means, rows, size))
    if not np.isfinite(size_of_change).any():
        return False
    return bool(abs(int(rows[np.nanargmax(size_of_change)]) - row) <= max(2, near * size))


def _places(row: int, size: int, n: int, *, nearest: int = 4, furthest: int = 16) -> Rows:
    """Cuts half a window apart, from `nearest` to `furthest` half windows away on either side, as far as they exist."""
    steps = np.arange(nearest, furthest + 1) * max(1, size // 2)
    places = np.concatenate([row - steps[::-1], row + steps])
    return places[(places >= size) & (places <= n - size)]


def _change(means: Floats, rows: Rows, size: int) -> Floats:
    """Mean of the window after less that of the window before, NaN where either leaves the run, shape of `rows`."""
    inside = (rows >= size) & (rows < len(means))
    safe = np.clip(rows, size, max(size, len(means) - 1))
    if len(means) <= size:
        return np.full(len(rows), np.nan)
    out: Floats = np.where(inside, means[safe] - means[safe - size], np.nan)
    return out
