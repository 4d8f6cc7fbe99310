"""The change of level at each boundary and at cuts beside it that are no boundary, for one window size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.boundaries import Cuts, Rows
from tb_losslens.analysis.stats import MAD_TO_SIGMA, Floats, finite, moving_mean, row_median, row_quantile


@dataclass(frozen=True)
class Contrast:
    """One window size: arrays of shape (boundaries,) in the units of the values given, and the placebos' own z.

    Attributes:
        jump: mean after less mean before.
        centre, scale: median of the placebos, and their robust standard deviation (see `contrast`).
        low, high: their 2.5 and 97.5 % quantiles.
        count: how many there are (thinned; their windows overlap).
        tail: 99.5 % quantile of |z| over the placebos of all boundaries that lie 2m from any: how far this run strays
            where no epoch begins or ends. NaN if there are none.
    """

    jump: Floats
    centre: Floats
    scale: Floats
    low: Floats
    high: Floats
    count: Rows
    tail: float

    @property
    def z(self) -> Floats:
        """Distance of each jump from its placebos."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return (self.jump - self.centre) / self.scale


def contrasts(values: Floats, cuts: Cuts, sizes: Sequence[int], *, most: int = 256) -> list[Contrast]:
    """`contrast` with each of `sizes` batches a side; the noise from batch to batch is the same for all."""
    noise = batch_noise(values, cuts, most)
    return [contrast(values, cuts, m, most=most, noise=noise) for m in sizes]


def batch_noise(values: Floats, cuts: Cuts, most: int) -> tuple[Floats, Floats]:
    """(median step from batch to batch, median size) over both epochs of each boundary, from `most` batches of either."""
    rows = np.concatenate([_grid(cuts.first, cuts.last - 2, 1, most), _grid(cuts.start, cuts.end - 2, 1, most)], axis=1)
    here = at(values, rows)
    with np.errstate(invalid="ignore", over="ignore"):
        return row_median(np.abs(at(values, np.where(rows >= 0, rows + 1, -1)) - here)), row_median(np.abs(here))


def contrast(
    values: Floats,
    cuts: Cuts,
    m: int,
    *,
    most: int = 256,
    least_placebos: int = 4,
    noise: tuple[Floats, Floats] | None = None,
) -> Contrast:
    """Jumps and placebos of `values`, shape (n,), with `m` batches a side; `noise` is that of `batch_noise`.

    Neighbouring placebos share all but one batch, so at most `most` a side are taken, a third of a window apart. With
    few of them their MAD is unsure; the noise from batch to batch, `sigma sqrt(2/m)`, rests on all batches of both
    epochs and bounds the scale from below. Fewer than `least_placebos` give NaN.
    """
    means = moving_mean(values, m)
    before, after = take(means, cuts.last - m, cuts.first, cuts.last), take(means, cuts.start, cuts.start, cuts.end, m=m)
    left = _grid(cuts.first + m, cuts.last - 2 * m, max(1, m // 3), most)
    right = _grid(cuts.start + 2 * m, cuts.end - m, max(1, m // 3), most)
    cut = np.concatenate([left, right], axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # losses beyond 1e307 are as good as infinite
        placebo = at(means, cut) - at(means, cut - m)
        jump = after - before
    count = np.isfinite(placebo).sum(axis=1)
    centre = row_median(placebo)
    scale = MAD_TO_SIGMA * row_median(np.abs(placebo - centre[:, None]))
    step, size = batch_noise(values, cuts, most) if noise is None else noise
    with np.errstate(invalid="ignore", over="ignore"):
        white = MAD_TO_SIGMA * step / math.sqrt(2) * math.sqrt(2 / m)
        resolution = 1e-6 * size  # float32 of the loss
        scale = np.fmax(np.fmax(scale, white), resolution)
        scale = np.where((count >= least_placebos) & (scale > 0), scale, np.nan)
        inner = (cut >= (cuts.first + 2 * m)[:, None]) & (cut <= (cuts.end - 2 * m)[:, None])  # clear of the next boundaries
        strays = finite(np.where(inner, (placebo - centre[:, None]) / scale[:, None], np.nan))
    tail = float(np.quantile(np.abs(strays), 0.995)) if len(strays) else math.nan
    low, high = row_quantile(placebo, 0.025), row_quantile(placebo, 0.975)
    return Contrast(jump, centre, scale, low, high, count.astype(np.int64), tail)


def take(means: Floats, row: Rows, first: Rows, last: Rows, *, m: int = 0) -> Floats:
    """Window means at rows `at`, NaN where the window leaves `first <= row < last`."""
    inside = (row >= first) & (row + m <= last)
    return np.where(inside, at(means, row), np.nan)


def at(values: Floats, rows: Rows) -> Floats:
    """`values[rows]`, NaN where a row does not exist."""
    if len(values) == 0:
        return np.full(rows.shape, np.nan)
    if rows.size and rows.min() >= 0 and rows.max() < len(values):
        return values[rows]
    out: Floats = np.where((rows >= 0) & (rows < len(values)), values[np.clip(rows, 0, len(values) - 1)], np.nan)
    return out


def _grid(low: Rows, high: Rows, stride: int, most: int) -> Rows:
    """Rows low, low + s, ... <= high for each boundary, shape (boundaries, columns); -1 where a row of it is short."""
    span = np.maximum(high - low + 1, 0)
    step = np.maximum(stride, -(-span // most))
    columns = int(np.max(-(-span // step))) if len(span) else 0
    out: Rows = low[:, None] + step[:, None] * np.arange(columns)
    return np.where(out <= high[:, None], out, -1)
