"""Which batches lie furthest from those around them, by loss, gradient norm or inputs; what is seen, and no verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.outliers import Rows, local_level, loss_level
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.text import number, plural, some
from tb_losslens.analysis.unlogged import unlogged
from tb_losslens.store.run import Run

FAR = 5.0
"""Robust standard deviations from which on a batch is counted."""

_INPUTS = ("input_mean", "input_std")


@dataclass(frozen=True)
class Unusual:
    """Distances of all batches, in robust standard deviations of the batches around; each float64, shape (n,).

    Attributes:
        loss: signed; infinite where the loss is not finite though it was logged.
        gradient: signed, of the gradient norm; NaN where it was not read.
        inputs: the larger of mean and standard deviation, not signed.
        usual: level of the loss around each batch.
    """

    loss: Floats
    gradient: Floats
    inputs: Floats
    usual: Floats

    @property
    def score(self) -> Floats:
        """The largest of the three, shape (n,); 0 where none is known."""
        out = np.zeros(len(self.loss))
        for distance in (self.loss, self.gradient, self.inputs):
            size = np.abs(distance)
            out = np.maximum(out, np.where(np.isnan(size), 0.0, size))
        return out


@once_a_run
def unusual(run: Run) -> Unusual:
    """Distances of every batch of a run."""
    level, sigma = loss_level(run)
    loss = _distance(run.loss, level, sigma)
    bad = ~np.isfinite(run.loss) & ~unlogged(run)
    if np.isfinite(run.loss).any():
        loss = np.where(bad, np.inf, loss)
    inputs = [np.abs(_of_column(run, name)) for name in _INPUTS]
    known = [np.where(np.isnan(each), -1.0, each) for each in inputs]
    most = np.maximum(*known)
    return Unusual(loss, _of_column(run, "grad_norm"), np.where(most < 0, np.nan, most), level)


def furthest(found: Unusual, *, most: int = 200, least: int = 10) -> tuple[Rows, int]:
    """Rows from `FAR` on, at most `most` and at least `least` of them, in order; and how many there are."""
    score = found.score
    count = int(np.count_nonzero(score >= FAR))
    size = min(len(score), max(least, min(most, count)))
    if not size:
        return np.empty(0, dtype=np.int64), count
    least_score = np.partition(score, len(score) - size)[len(score) - size]
    above = np.flatnonzero(score > least_score)
    equal = np.flatnonzero(score == least_score)[: size - len(above)]  # of equal ones the earlier
    return np.sort(np.concatenate([above, equal])).astype(np.int64), count


def said(found: Unusual, count: int) -> str:
    """How many lie far off, and by what."""
    n = len(found.loss)
    if not n:
        return "No batch was recorded yet."
    if not count:
        most = number(found.score.max(), 2)
        return f"No batch lies {FAR:g} or more times the noise from those around it; the furthest lies {most}."
    by = [
        f"{np.count_nonzero(np.abs(distance) >= FAR)} by {name}"
        for name, distance in (("loss", found.loss), ("gradient norm", found.gradient), ("inputs", found.inputs))
        if (np.abs(distance) >= FAR).any()
    ]
    lie = "lies" if count == 1 else "lie"
    return f"{plural(count, 'batch')} of {n:,} {lie} {FAR:g} or more times the noise from those around: {some(by)}."


def _of_column(run: Run, name: str) -> Floats:
    values = run.float(name)
    if not run.has(name):
        return np.full(len(run), np.nan)
    return _distance(values, *local_level(values))


def _distance(values: Floats, level: Floats, sigma: Floats) -> Floats:
    """Signed distance from the level; a level without any spread takes a millionth of itself for it."""
    least: NDArray[np.float64] = np.maximum(np.abs(level) * 1e-6, 1e-12)
    with np.errstate(invalid="ignore", over="ignore"):
        out: Floats = (values - level) / np.fmax(sigma, least)
    return np.where(np.isfinite(values), out, np.nan)
