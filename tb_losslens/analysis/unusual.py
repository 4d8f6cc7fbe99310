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
        gradient: signed, of the gradient norm; NaN where it was not read, infinite where that is.
        inputs: the larger of mean and standard deviation, not signed; infinite where some element is not finite.
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
    if run.recorded("loss"):
        loss = np.where(~np.isfinite(run.loss) & ~unlogged(run), np.inf, loss)
    inputs = [np.abs(_of_column(run, name)) for name in _INPUTS]
    known = [np.where(np.isnan(each), -1.0, each) for each in inputs]
    most = np.where(run.float("input_nonfinite") > 0, np.inf, np.maximum(*known))
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
    each = (
        ("loss", "a loss", found.loss),
        ("gradient norm", "a gradient norm", found.gradient),
        ("inputs", "inputs", found.inputs),
    )
    by = [
        f"{number:,} by {words}" for name, a, distance in each for number, words in _counts(name, a, np.abs(distance)) if number
    ]
    lie = "lies" if count == 1 else "lie"
    return f"{plural(count, 'batch')} of {n:,} {lie} {FAR:g} or more times the noise from those around: {some(by)}."


def _counts(name: str, one: str, distance: Floats) -> list[tuple[int, str]]:
    """How many batches lie far off by one of the three, and how many are not finite in it."""
    endless = np.isinf(distance)
    are = "are" if name == one else "is"
    far = int(np.count_nonzero((distance >= FAR) & ~endless))
    return [(far, name), (int(np.count_nonzero(endless)), f"{one} that {are} not finite")]


def _of_column(run: Run, name: str) -> Floats:
    values = run.float(name)
    if not run.has(name):
        return np.full(len(run), np.nan)
    finite = np.where(np.isinf(values), np.nan, values)
    return np.where(np.isinf(values), np.inf, _distance(finite, *local_level(finite)))


def _distance(values: Floats, level: Floats, sigma: Floats) -> Floats:
    """Signed distance from the level; a level without any spread takes a millionth of itself for it."""
    least: NDArray[np.float64] = np.maximum(np.abs(level) * 1e-6, 1e-12)
    with np.errstate(invalid="ignore", over="ignore"):
        out: Floats = (values - level) / np.fmax(sigma, least)
    return np.where(np.isfinite(values), out, np.nan)
