"""Whether a curve can be a mean since the epoch or the training began, and the curve taken apart into single batches."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.whole import lost_before
from tb_losslens.store.run import Run


def de_averaged(run: Run, since: str) -> Run:
    """The run with the loss of each batch in place of the mean since the epoch or training began (`since`)."""
    position = position_in_mean(run, since)
    if position is None:
        return run
    return replace(run, columns={**run.columns, "loss": taken_apart(run.loss, position)})


def position_in_mean(run: Run, since: str) -> NDArray[np.int64] | None:
    """How many batches are in the mean at each row, counted from 1; None if that is unknown."""
    rows = np.arange(len(run), dtype=np.int64) + lost_before(run)
    if since == "training":
        return rows + 1 if not run.plain else run.step - int(run.step[0]) + 1
    if not run.epochs:
        return None
    index = run.columns.get("index")
    if index is not None and (index >= 0).all():
        return np.asarray(index, dtype=np.int64) + 1
    first = np.zeros(len(run), dtype=np.int64)
    for epoch in run.epochs:
        first[epoch.first : epoch.last] = rows[epoch.first]
    return rows - first + 1


def taken_apart(loss: Floats, position: NDArray[np.int64]) -> Floats:
    """`(i x_i - j x_j) / (i - j)` over neighbours, and `x_i` itself where the mean begins; shape (n,)."""
    out: Floats = loss.copy()
    gap = np.diff(position)
    with np.errstate(invalid="ignore", over="ignore"):
        summed = position * loss
        out[1:] = np.diff(summed)
        other = np.flatnonzero(gap != 1)
        out[other + 1] = np.where(gap[other] > 0, out[other + 1] / np.maximum(gap[other], 1), loss[other + 1])
    return out


def starts_anew(run: Run, *, around: int = 8, factor: float = 4.0, most: int = 300) -> bool:
    """True if at most epoch starts (`most` are asked) the curve changes by `factor` times what is usual `around` them."""
    change = np.abs(np.diff(run.loss, prepend=np.nan))
    ratios = []
    epochs = run.epochs[1:]
    for epoch in epochs[:: max(1, len(epochs) // most)]:
        near = np.concatenate([change[max(0, epoch.first - around) : epoch.first], change[epoch.first + 1 :][:around]])
        usual = median(near)
        if usual > 0 and math.isfinite(change[epoch.first]):
            ratios.append(change[epoch.first] / usual)
    return bool(ratios) and median(np.array(ratios)) > factor


@dataclass(frozen=True)
class Statistics:
    """What tells a mean from a raw or a smoothed curve.

    Attributes:
        slope: slope of log |second difference of x| on log i; -1 for a mean.
        roughness: log2 of late over early roughness of u; 0 for a mean. Relative to the level of u if that is nearer.
        negative: part of the u below zero although no x is; 0 for a mean of losses.
        odds: how far `slope` lies from that of a mean of losses whose roughness changes as that of u does; 0 for a mean.
    """

    slope: float
    roughness: float
    negative: float
    odds: float = 0.0


def mean_statistics(loss: Floats, position: NDArray[np.int64], least_points: int) -> Statistics | None:
    """The statistics, None with too few points.

    Second differences, so that the drift of the curve does not count; medians over rows of about the same i (bins of
    equal width in log i), so that no single batch decides.
    """
    longest = int(position.max(initial=0))
    known = np.isfinite(loss)
    usable = (position[1:] > position[:-1]) & known[1:] & known[:-1]  # of row 1 and those after it
    inner = usable[1:] & usable[:-1]  # of row 2 and those after it, as all that follows
    if longest < least_points or inner.sum() < least_points:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        bend = np.abs(np.diff(loss, 2))
        u = taken_apart(loss, position)
        jitter = np.abs(np.diff(u[1:]))
    negative = float((u[1:][usable] < 0).mean()) if (loss[known] >= 0).all() else 0.0
    order = _by_position(position[2:], inner, longest)
    u, position, bend, jitter = u[2:][order], position[2:][order], bend[order], jitter[order]
    edges = np.unique(np.round(np.geomspace(3, longest + 1, 13)).astype(np.int64))
    x, y = [], []
    for first, last in pairwise(np.searchsorted(position, edges).tolist()):
        typical = median(bend[first:last])
        if typical > 0:
            x.append(math.log(_middle_one(position[first:last])))
            y.append(math.log(typical))
    half = int(np.searchsorted(position, longest // 2, side="right"))
    early, late = slice(half), slice(half, None)
    rough = [median(jitter[part]) for part in (early, late)]
    level = [median(np.abs(u[part])) for part in (early, late)]
    if len(x) < 4 or not min(*rough, *level) > 0 or not math.isfinite(max(*rough, *level)):
        return None
    plain = math.log2(rough[1] / rough[0])
    relative = plain - math.log2(level[1] / level[0])
    slope = float(np.polyfit(x, y, 1)[0])
    apart = math.log2(_middle_one(position[late]) / _middle_one(position[early]))
    return Statistics(slope, min(plain, relative, key=abs), negative, slope - (plain / apart - 1))


def _by_position(position: NDArray[np.int64], inner: NDArray[np.bool_], longest: int) -> NDArray[np.int64]:
    """The `inner` rows in the order of their positions."""
    rows = np.flatnonzero(inner)
    wanted = position[rows]
    if (wanted[1:] >= wanted[:-1]).all():
        return rows
    short = longest < np.iinfo(np.int16).max and int(wanted.min()) >= 0  # those are sorted in one pass
    return rows[np.argsort(wanted.astype(np.int16) if short else wanted, kind="stable")]


def _middle_one(ordered: NDArray[np.int64]) -> float:
    """Median of values in rising order; NaN if there is none."""
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if len(ordered) else math.nan
