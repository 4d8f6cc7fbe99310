"""Epochs of a plain log by the loss itself, where it jumps again and again at one distance and nothing else tells them.

Every second of the jumps chooses distance and place, and the others must show them, too: noise has its largest jump somewhere,
but not twice at the same place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.store.plain_epochs import Labels
from tb_losslens.store.series import Series

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SIDE = 5
"""Losses on either side of a cut whose means are compared."""
_MOST = 16_384
"""Values that the search goes through: of a longer log means of neighbours."""


@dataclass(frozen=True)
class _Period:
    """Distance of the jumps in rows, and the first of them: the rows `first + k * length`, rounded."""

    length: float
    first: float


def by_period(step: Ints, value: Floats, *, least: int = 8, shortest: int = 20) -> Labels:
    """Epochs that begin where the loss jumps.

    Args:
        step: of each logged loss, int64, shape (n,), at equal distances nearly everywhere.
        value: the losses, float64, shape (n,).
        least: epochs that the log must have.
        shortest: losses in each of them, at least.
    """
    none = Labels(why="jumps at no distance that it keeps")
    distance = np.diff(step)
    if len(step) < least * shortest or (distance != np.median(distance)).mean() > 0.01 or np.isfinite(value).mean() < 0.98:
        return none
    block = math.ceil(len(value) / _MOST)
    used = _filled(value)
    coarse = used[: len(used) // block * block].reshape(-1, block).mean(axis=1)
    found = _search(coarse, least=least, shortest=max(4 * _SIDE, math.ceil(shortest / block)))
    if found is None:
        return none
    if block > 1:
        length, first = found.length * block, found.first * block
        off = 2.0 * _SIDE * block  # rows by which the search among means may be off at either end
        found = _refined(_contrast(used), length, off * length / len(value), near=(first, off))
    count = int((len(value) - 1 - found.first) / found.length) + 1
    rows = np.round(found.first + np.arange(count + 1) * found.length).astype(np.int64)
    rows = rows[(rows >= _SIDE) & (rows <= len(value) - _SIDE)]
    if not _lasts(used, rows):
        return none
    return Labels(np.searchsorted(rows, np.arange(len(value)), side="right").astype(np.int64))


def _lasts(used: Floats, rows: Ints, *, part: float = 0.5) -> bool:
    """True if the loss is another one after the jumps, and not in a single batch beside them, of which medians know nothing."""
    around = used[rows[:, None] + np.arange(-_SIDE, _SIDE)]
    before, after = around[:, :_SIDE], around[:, _SIDE:]
    jump = float(np.mean(after.mean(axis=1) - before.mean(axis=1)))
    typical = float(np.mean(np.median(after, axis=1) - np.median(before, axis=1)))
    return bool(jump) and typical / jump >= part


def _filled(value: Floats) -> Floats:
    """The losses with the one before in the place of each that is not finite, as logarithms where all are positive."""
    known = np.isfinite(value)
    last = np.maximum.accumulate(np.where(known, np.arange(len(value)), 0))
    filled = np.where(known[last], value[last], value[known][0])
    out: Floats = np.log(filled) if filled.min() > 0 else filled
    return out


def _contrast(used: Floats) -> Floats:
    """Mean of the losses from each row on less that of those before it, less its own trend, in robust standard deviations.

    Shape (n,), 0 at both ends, and no more than 4 either way: a single wild loss must not make a pattern.
    """
    sums = np.concatenate([[0.0], np.cumsum(used)])
    n, m = len(used), _SIDE
    out = np.zeros(n)
    at = np.arange(m, n - m + 1)
    out[at[:-1]] = ((sums[at + m] - 2 * sums[at] + sums[at - m]) / m)[:-1]
    wide = 10 * m
    padded = np.concatenate([[0.0], np.cumsum(out)])
    low, high = np.maximum(np.arange(n) - wide, 0), np.minimum(np.arange(n) + wide + 1, n)
    out -= (padded[high] - padded[low]) / (high - low)
    scale = 1.4826 * float(np.median(np.abs(out)))
    return np.clip(out / scale, -4.0, 4.0) if scale > 0 else np.zeros(n)


def _search(used: Floats, *, least: int, shortest: int, clear: float = 6.0, alike: float = 0.8) -> _Period | None:
    """The distance at which the contrast repeats itself; None where the jumps that did not choose it do not show it."""
    contrast = _contrast(used)
    longest = len(contrast) // least
    if longest <= shortest or not contrast.any():
        return None
    spectrum = np.abs(np.fft.rfft(contrast, 2 * len(contrast))) ** 2
    again = np.fft.irfft(spectrum)[: len(contrast)] / np.arange(len(contrast), 0, -1)
    distances = np.arange(shortest, longest + 1)
    near = np.maximum(np.maximum(again[:-2], again[1:-1]), again[2:])  # of the distances 1, 2, ...
    score = np.mean([near[k * distances - 1] for k in range(1, 5)], axis=0)
    best = float(score.max())
    if not best > 0:
        return None
    length = int(distances[np.argmax(score >= 0.8 * best)])
    top = slice(max(0, length - shortest), length - shortest + 3)
    found = _refined(contrast, float(distances[top][np.argmax(score[top])]), 1.5)
    table = _folded(contrast, found.length)
    others = table[0::2].mean(axis=0)
    place = round(found.first) % table.shape[1]
    away = np.abs((np.arange(len(others)) - place + len(others) // 2) % len(others) - len(others) // 2) > 2 * _SIDE
    if not away.any():
        return None
    others -= float(np.median(others[away]))
    spread = 1.4826 * float(np.median(np.abs(others[away])))
    sign = math.copysign(1.0, float(table[1::2, place].mean()))
    held = float(np.mean(table[0::2, place] * sign > 0))
    jump = sign * float(others[place])
    clearest = jump > clear * spread > 0 and jump >= float(np.abs(others[away]).max())
    return found if clearest and held >= alike else None


def _folded(contrast: Floats, length: float) -> Floats:
    """The contrast period by period, shape (k, place): the whole ones, each row rounded to where it begins."""
    places = int(length)
    count = max(2, int((len(contrast) - places) / length) + 1)
    begin = np.round(np.arange(count) * length).astype(np.int64)
    begin = begin[begin + places <= len(contrast)]
    out: Floats = contrast[begin[:, None] + np.arange(places)]
    return out


def _refined(
    contrast: Floats, length: float, reach: float, *, near: tuple[float, float] | None = None, tries: int = 200
) -> _Period:
    """The length within `reach` of the given one, and the place, at which every second period has the largest contrast.

    Up to `tries` lengths on either side are tried. The place is within `near[1]` of `near[0]` where that is given.
    """
    count = max(4, int(len(contrast) / length))
    fine = max(0.25 / count, reach / tries)
    places = np.arange(int(length)) if near is None else np.arange(round(near[0] - near[1]), round(near[0] + near[1]) + 1)
    best, found = -1.0, _Period(length, 0.0)
    for one in np.arange(max(2.0, length - reach), length + reach + fine / 2, fine).tolist():
        begin = np.round(np.arange(1, count, 2) * one).astype(np.int64)
        rows = begin[:, None] + places
        means = np.abs(contrast[np.clip(rows, 0, len(contrast) - 1)].mean(axis=0))
        place = int(np.argmax(means))
        if means[place] > best:
            best, found = float(means[place]), _Period(one, float(places[place]))
    return found


def period_in_steps(step: Ints, labels: NDArray[Any]) -> int:
    """Steps from one of these epochs to the next, in the middle."""
    first = np.flatnonzero(np.diff(labels) > 0) + 1
    return int(np.median(np.diff(step[first]))) if len(first) > 1 else 0


def rises_with(step: Ints, labels: Ints, rate: Series, *, least: float = 1.1, part: float = 0.5) -> bool:
    """True if the learning rate rises by `least` at `part` of the places where these epochs begin, as a restart does."""
    first = np.flatnonzero(np.diff(labels) > 0) + 1
    known = np.isfinite(rate.value) & (rate.value > 0)
    at, value = rate.step[known], rate.value[known]
    if not len(first) or len(value) < 2:
        return False
    every = max(1, int(np.median(np.diff(step))), int(np.median(np.diff(at))))
    rises = at[1:][value[1:] >= least * value[:-1]]
    sides = np.searchsorted(rises, np.stack([step[first] - 2 * every, step[first] + 2 * every]))
    return bool((sides[0] < sides[1]).mean() >= part)
