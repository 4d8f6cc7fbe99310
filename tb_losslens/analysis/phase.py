"""Whether the loss of one epoch, position by position, predicts that of the next: a fixed order seen without sample ids."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.stats import Floats, moving_mean, ranks_of
from tb_losslens.store.run import Epoch


@dataclass(frozen=True)
class Phase:
    """Rank correlation of epochs with their next, averaged over pairs of neighbours.

    Attributes:
        pairs: pairs of neighbouring epochs compared.
        positions: batches compared in each.
        correlation: at equal positions.
        shifted: largest magnitude at any other circular shift.
    """

    pairs: int
    positions: int
    correlation: float
    shifted: float


def phase_profile(context: Context, *, least_positions: int = 20, edge: float = 0.05, most_epochs: int = 2000) -> Phase | None:
    """Compares epochs of equal length; None with fewer than 2 pairs or `least_positions` positions.

    The trend within an epoch and the batches near its ends (part `edge`) are left out first: both repeat in any run.
    Of more than `most_epochs` the first and the last are compared: an order repeats all along, or from a resume on.
    """
    lengths = [len(epoch) for epoch in context.epochs]
    if len(lengths) < 3:
        return None
    usual = int(np.median(lengths))
    cut = max(2, math.ceil(edge * usual))
    inner = usual - 2 * cut
    if inner < least_positions:
        return None
    epochs = _sample(context.epochs, most_epochs)
    whole = np.array([len(epoch) == usual for epoch in epochs])
    first = np.array([epoch.first for epoch in epochs])[whole]
    if len(first) < 2:
        return None
    rows = np.full((len(epochs), inner), np.nan)
    rows[whole] = _ranks(_without_trend(context.run.loss[first[:, None] + np.arange(usual)])[:, cut : usual - cut])
    spectra = np.fft.rfft(rows, axis=1)
    products = np.fft.irfft(spectra[1:] * np.conj(spectra[:-1]), n=inner, axis=1) / inner
    known = products[np.isfinite(products).all(axis=1)]
    if len(known) < 2:
        return None
    by_shift = known.mean(axis=0)
    return Phase(len(known), inner, float(by_shift[0]), float(np.abs(by_shift[1:]).max()))


def _sample(epochs: tuple[Epoch, ...], most: int) -> tuple[Epoch, ...]:
    return epochs if len(epochs) <= most else (*epochs[: most // 2], *epochs[-(most // 2) :])


def _without_trend(loss: Floats, *, part: int = 8) -> Floats:
    """Loss less its moving mean over an eighth of the epoch (odd, at least 5 batches; shorter near the ends), by rows."""
    half = max(2, loss.shape[1] // part // 2)
    padded = np.full((len(loss), loss.shape[1] + 2 * half), np.nan)
    padded[:, half:-half] = loss
    means = moving_mean(padded.ravel(), 2 * half + 1)  # windows over two epochs are left out
    width = padded.shape[1]
    kept = np.arange(len(loss))[:, None] * width + np.arange(loss.shape[1])
    with np.errstate(invalid="ignore"):
        return np.asarray(loss - means[kept], dtype=np.float64)


def _ranks(rows: Floats) -> Floats:
    """Ranks with mean 0 and variance 1 in each row; NaN throughout one with a value that is not finite, or of equal values."""
    order = np.argsort(rows, axis=1)
    ordered = np.take_along_axis(rows, order, axis=1)
    ranks = np.empty(rows.shape)
    np.put_along_axis(ranks, order, np.arange(1.0, rows.shape[1] + 1)[None, :], axis=1)
    with np.errstate(invalid="ignore"):
        tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    for row in tied.tolist():
        ranks[row] = ranks_of(rows[row])
    unknown = ~np.isfinite(ordered[:, [0, -1]]).all(axis=1) | (ordered[:, 0] == ordered[:, -1])
    ranks[unknown] = np.nan
    with np.errstate(invalid="ignore"):
        out: Floats = (ranks - ranks.mean(axis=1, keepdims=True)) / ranks.std(axis=1, keepdims=True)
    return out
