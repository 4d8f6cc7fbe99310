"""Losses made of a falling trend and correlated noise: cheap runs of which the truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from tb_losslens.store.run import Run


def falling(rng: np.random.Generator, epochs: int, length: int, *, tails: bool = False) -> NDArray[np.float64]:
    """An exponential, a power law or a plateau, times noise of 15 % with correlation up to 0.6 (or heavy tails)."""
    n = epochs * length
    t = np.arange(n)
    trend = (
        0.3 + 2 * np.exp(-t / (n * rng.uniform(0.1, 0.4))),
        2.5 * (1 + t / (0.02 * n)) ** -rng.uniform(0.3, 0.6),
        np.ones(n),
    )[int(rng.integers(3))]
    noise = lfilter([1], [1, -rng.uniform(0, 0.6)], rng.normal(size=n))
    if tails:
        noise = rng.standard_t(3, size=n)
    return np.asarray(trend * np.exp(0.15 * noise))


def healthy(rng: np.random.Generator, *, tails: bool = False) -> Run:
    """8 to 20 epochs of 20 to 80 batches in which nothing happens at the boundaries."""
    epochs, length = int(rng.integers(8, 21)), int(rng.integers(20, 81))
    return Run.from_arrays(loss=falling(rng, epochs, length, tails=tails), epoch_length=length)


def jumping(rng: np.random.Generator, size: float, *, epochs: int = 12, length: int = 40, lasting: float = 10) -> Run:
    """A jump up by `size` standard deviations of the batch noise at each boundary, gone after `lasting` batches."""
    loss = falling(rng, epochs, length)
    row = np.arange(len(loss))
    loss = loss * np.exp(0.15 * size * np.exp(-(row % length) / lasting) * (row >= length))
    return Run.from_arrays(loss=loss, epoch_length=length)
