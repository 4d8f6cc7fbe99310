"""Whether one curve is an exponential mean or a mean over a window of another, batch by batch: equalities, no statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.stats import Floats, median


@dataclass(frozen=True)
class Smoothing:
    """How the smoothed curve x follows from the raw one u.

    Attributes:
        keep: a of `x_i = a x_(i-1) + (1 - a) u_i`; NaN for a window.
        window: w of `x_i = mean(u_(i-w+1) .. u_i)`; 0 for an exponential mean.
        rows: batches at which it holds.
        restarts: epoch starts at which x begins anew with u.
        corrected: x is divided by `1 - a^i` at its i-th batch, as Adam does with its moments.
    """

    keep: float
    window: int
    rows: int
    restarts: int = 0
    corrected: bool = False


def exponential(
    x: Floats,
    u: Floats,
    starts: NDArray[np.int64],
    together: NDArray[np.bool_],
    *,
    least: int = 24,
    nearly_all: float = 0.99,
    tolerance: float = 1e-5,
) -> Smoothing | None:
    """Whether x is an exponential mean of u with one constant, which may begin anew at `starts`; else None.

    Args:
        x: the smoothed curve, shape (n,); NaN where a value is not known.
        u: the raw one, shape (n,).
        starts: rows at which epochs begin.
        together: rows that follow the row before without a batch missing in between, shape (n,).
        least: rows that must be known.
        nearly_all: part of them at which it must hold.
        tolerance: of the size of the values, some hundred roundings of float32.
    """
    before = np.concatenate([[np.nan], x[:-1]])
    known = together & np.isfinite(x) & np.isfinite(before) & np.isfinite(u)
    known[:1] = False
    inside = known.copy()
    inside[starts] = False
    size = np.maximum(np.abs(x), np.abs(u))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        clear = inside & (np.abs(before - u) > 100 * tolerance * size)
        keep = median(((x - u) / (before - u))[clear])
        off = np.abs(x - keep * before - (1 - keep) * u)
        moves, differs = (np.abs(x - other) > tolerance * size for other in (before, u))
    if inside.sum() < least or not 0 < keep < 1:
        return None
    if (off <= tolerance * size)[inside].mean() < nearly_all or not _tells(moves, differs, inside):
        return None
    anew = known[starts] & ~differs[starts] & (off > tolerance * size)[starts]
    return Smoothing(keep, 0, int(inside.sum()), int(anew.sum()))


def bias_corrected(
    x: Floats, u: Floats, lost: NDArray[np.int64], *, least: int = 24, nearly_all: float = 0.99, tolerance: float = 1e-5
) -> Smoothing | None:
    """Whether x is an exponential mean of u that begins at 0 and is corrected for it, from the first row on; else None.

    At row i (from 1), `x_i = m_i / (1 - a^i)` with `m_i = a m_(i-1) + (1 - a) u_i`: so x_1 is u_1, x_2 is the mean of the two
    with weights a and 1, which gives a, and all others must follow.

    Args:
        x: the smoothed curve, shape (n,).
        u: the raw one, shape (n,).
        lost: batches that are missing before each row, shape (n,); none may be.
        least: rows that must be known.
        nearly_all: part of them at which it must hold.
        tolerance: of the size of the values.
    """
    end = len(x) if not lost.any() else int(np.argmax(lost > 0))
    bad = ~(np.isfinite(x[:end]) & np.isfinite(u[:end]))
    end = int(np.argmax(bad)) if bad.any() else end
    if end < least:
        return None
    x, u = x[:end], u[:end]
    size = np.maximum(np.abs(x), np.abs(u))
    if abs(x[0] - u[0]) > tolerance * size[0]:
        return None
    moves, differs = np.abs(np.diff(x, prepend=x[0])) > tolerance * size, np.abs(x - u) > tolerance * size
    if not _tells(moves, differs, np.ones(end, dtype=bool)):
        return None
    for keep in (one for one in _keeps(x, u) if one**end < 0.5):  # else nothing is forgotten yet: a mean since the first row
        mean = np.empty(end)
        moment, left = 0.0, 1.0
        for i, value in enumerate(u.tolist()):
            moment, left = keep * moment + (1 - keep) * value, left * keep
            mean[i] = moment / (1 - left)
        if (np.abs(x - mean) <= tolerance * size).mean() >= nearly_all:
            return Smoothing(keep, 0, end, corrected=True)
    return None


def _keeps(x: Floats, u: Floats) -> list[float]:
    """Constants that the rows allow: late ones, where the correction is over, give it exactly; early ones do after two rows."""
    before, late = x[:-1], slice(len(x) // 2, None)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        found = [median(((x[1:] - u[1:]) / (before - u[1:]))[late]), float((u[1] - x[1]) / (x[1] - u[0]))]
    keeps = [one for one in found if 0 < one < 1]
    return keeps + [round(one, digits) for one in keeps for digits in (2, 3, 4) if 0 < round(one, digits) < 1]


def windowed(
    x: Floats,
    u: Floats,
    lost: NDArray[np.int64],
    *,
    least: int = 24,
    widest: int = 1000,
    nearly_all: float = 0.99,
    tolerance: float = 1e-5,
) -> Smoothing | None:
    """Whether x is the mean over the last w of u, the smallest such w from 2 to `widest`; else None.

    `lost` counts the batches that are missing before each row, shape (n,): a window with a hole in it is left out.
    """
    total = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(u), u, 0.0))])
    holes = np.concatenate([[0], np.cumsum(~np.isfinite(u))])

    def whole(rows: NDArray[np.int64], w: int) -> NDArray[np.int64]:
        rows = rows[rows >= w - 1]
        unbroken = (holes[rows + 1] == holes[rows + 1 - w]) & (lost[rows] == lost[rows + 1 - w])
        return np.asarray(rows[unbroken])

    rows = np.flatnonzero(np.isfinite(x))
    later = rows[rows >= len(x) // 2]
    few = later[:: max(1, len(later) // (4 * least))]  # a thousand windows of a long run are told by these
    for w in range(2, min(widest, len(x) // 2) + 1):
        tried = whole(few, w)
        if not len(tried) or not _is_mean(x, total, tried, w, tolerance).all():
            continue
        mine = whole(rows, w)
        if len(mine) < least:
            continue
        moves, differs = (np.abs(x[mine] - other) > tolerance * np.abs(x[mine]) for other in (x[mine - 1], u[mine]))
        if _is_mean(x, total, mine, w, tolerance).mean() >= nearly_all and _tells(moves, differs, np.ones(len(mine), bool)):
            return Smoothing(math.nan, w, len(mine))
    return None


def _is_mean(x: Floats, total: Floats, rows: NDArray[np.int64], w: int, tolerance: float) -> NDArray[np.bool_]:
    mean = (total[rows + 1] - total[rows + 1 - w]) / w
    return np.asarray(np.abs(x[rows] - mean) <= tolerance * np.maximum(np.abs(mean), np.abs(x[rows])))


def _tells(moves: NDArray[np.bool_], differs: NDArray[np.bool_], rows: NDArray[np.bool_], *, most: float = 0.5) -> bool:
    """False for a curve that stands still or is the raw one: any mean would fit."""
    return bool(moves[rows].mean() > most and differs[rows].mean() > most)
