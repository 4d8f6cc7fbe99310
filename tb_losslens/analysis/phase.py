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
    rows = []
    loss = context.run.loss
    for epoch in _sample(context.epochs, most_epochs):
        if len(epoch) != usual:
            rows.append(np.full(inner, np.nan))
            continue
        rough = _without_trend(loss[epoch.first : epoch.last])
        rows.append(_ranks(rough[cut : usual - cut]))
    spectra = np.fft.rfft(np.stack(rows), axis=1)
    products = np.fft.irfft(spectra[1:] * np.conj(spectra[:-1]), n=inner, axis=1) / inner
    known = products[np.isfinite(products).all(axis=1)]
    if len(known) < 2:
        return None
    by_shift = known.mean(axis=0)
    return Phase(len(known), inner, float(by_shift[0]), float(np.abs(by_shift[1:]).max()))


def _sample(epochs: tuple[Epoch, ...], most: int) -> tuple[Epoch, ...]:
    return epochs if len(epochs) <= most else (*epochs[: most // 2], *epochs[-(most // 2) :])


def _without_trend(loss: Floats, *, part: int = 8) -> Floats:
    """Loss less its moving mean over an eighth of the epoch (odd, at least 5 batches; shorter near the ends)."""
    half = max(2, len(loss) // part // 2)
    padded = np.concatenate([np.full(half, np.nan), loss, np.full(half, np.nan)])
    return loss - moving_mean(padded, 2 * half + 1)


def _ranks(values: Floats) -> Floats:
    """Ranks with mean 0 and variance 1; NaN throughout if any value is not finite or all are equal."""
    if not np.isfinite(values).all() or np.ptp(values) == 0:
        return np.full(len(values), np.nan)
    ranks = ranks_of(values)
    out: Floats = (ranks - ranks.mean()) / ranks.std()
    return out
