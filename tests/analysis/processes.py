"""Losses of many trainings at once in which nothing happens at the boundaries, by the process itself: SGD, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def fresh_samples(runs: int, epochs: int, length: int, *, seed: int, batch_size: int = 16, inputs: int = 6) -> Floats:
    """Batch losses of logistic regressions by SGD, shape (runs, epochs * length).

    Each batch is drawn anew, so that an "epoch" is nothing but a number: no sample comes twice and no order exists. Noise of
    batches, the falling curve, and what one step does to the next batch are those of a training.
    """
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(runs, inputs, 1))
    weights = np.zeros((runs, inputs, 1))
    rate = rng.uniform(0.02, 0.3, size=(runs, 1, 1))
    out = np.empty((runs, epochs * length))
    for step in range(epochs * length):
        x = rng.standard_normal((runs, batch_size, inputs))
        y = rng.random((runs, batch_size, 1)) < 1 / (1 + np.exp(-x @ truth))
        logits = x @ weights
        out[:, step] = (np.logaddexp(0, logits) - y * logits).mean(axis=(1, 2))
        weights -= rate / batch_size * (x.transpose(0, 2, 1) @ (1 / (1 + np.exp(-logits)) - y))
    return out


def jumping(loss: Floats, length: int, size: float) -> Floats:
    """The same with a jump up by `size` standard deviations of its batches at each boundary, gone by the next one.

    It fades within a tenth of an epoch, as the loss recovers in a training.
    """
    row = np.arange(loss.shape[1])
    noise = np.median(np.abs(np.diff(loss, axis=1)), axis=1, keepdims=True) * 1.4826 / np.sqrt(2)
    return np.asarray(loss + size * noise * np.exp(-(row % length) / (0.1 * length)) * (row >= length))
