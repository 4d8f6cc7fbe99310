"""The loss by epoch and by position in the epoch: a fixed order, sorted data and a sawtooth show as stripes and slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from tb_losslens.analysis.stats import Floats
from tb_losslens.store.downsample import bucket_starts
from tb_losslens.store.run import Epoch, Run

_WHOLE = 0.9
"""An epoch of fewer batches than this part of the longest is cut short: its mean is not that of a whole pass."""

_DENSE = 1.5
"""An `index` that goes beyond this many times the rows of the longest epoch tells of batches that nobody recorded."""


@dataclass(frozen=True)
class Fold:
    """Mean losses of a run, laid out by epoch and position.

    Attributes:
        position: int64, shape (p,): batches from the start of the epoch to each column.
        length: batches of the longest epoch.
        epochs: the epochs that were folded, those that were cut short among them.
        cells: float64, shape (epochs, p): mean loss; NaN beyond the end of an epoch and where no loss is finite.
        level: float64, shape (epochs,): mean loss of each epoch.
        whole: bool, shape (epochs,): it was not cut short.
    """

    position: NDArray[np.int64]
    length: int
    epochs: tuple[Epoch, ...]
    cells: Floats
    level: Floats
    whole: NDArray[np.bool_]

    @property
    def deviations(self) -> Floats:
        """Cells of the whole epochs less the mean of their epoch; shape (whole epochs, p)."""
        out: Floats = self.cells[self.whole] - self.level[self.whole, None]
        return out


@dataclass(frozen=True)
class Profile:
    """What an epoch does at each position, of all whole epochs: mean deviation from the epoch's mean, and 95 % around it.

    Each float64, shape (p,); NaN where fewer than 3 epochs have a loss.
    """

    mean: Floats
    low: Floats
    high: Floats


def fold(run: Run, positions: int = 160) -> Fold:
    """Folds a run into at most `positions` columns; all arrays are empty without epochs."""
    epochs = run.epochs
    size = np.array([len(epoch) for epoch in epochs], dtype=np.int64)
    if not size.max(initial=0):
        empty = np.empty(0)
        return Fold(np.empty(0, dtype=np.int64), 0, (), np.empty((0, 0)), empty, np.empty(0, dtype=bool))
    places = _places(run, epochs, size)
    longest = int(size.max()) if places is None else int(places.max()) + 1
    position = bucket_starts(0, longest, max(2, positions))
    total, count = _sums(run, epochs, position, size) if places is None else _sums_at(run, epochs, position, size, places)
    level = _mean(total.sum(axis=1), count.sum(axis=1))
    return Fold(position, longest, epochs, _mean(total, count), level, size >= _WHOLE * size.max())


def grouped(folded: Fold, rows: int) -> tuple[Floats, Floats, list[Epoch], int]:
    """Cells and levels of at most `rows` groups of as many epochs each, the first epoch of each group, and epochs a group."""
    n = len(folded.epochs)
    every = -(-n // rows) if n else 1
    if every == 1:
        return folded.cells, folded.level, list(folded.epochs), 1
    starts = np.arange(0, n, every)
    known = np.isfinite(folded.cells)
    cells = _mean(np.add.reduceat(np.where(known, folded.cells, 0.0), starts), np.add.reduceat(known, starts, dtype=np.float64))
    fine = np.isfinite(folded.level)
    level = _mean(np.add.reduceat(np.where(fine, folded.level, 0.0), starts), np.add.reduceat(fine, starts, dtype=np.float64))
    return cells, level, [folded.epochs[at] for at in starts.tolist()], every


def profile(folded: Fold, *, least: int = 3) -> Profile:
    """Mean deviation at each position with its interval from Student's t over the epochs; at least `least` of them."""
    deviations = folded.deviations
    known = np.isfinite(deviations)
    unit = float(np.abs(deviations[known]).max(initial=0.0)) or 1.0  # the square of a loss that diverged may be no number
    deviations = deviations / unit
    count = known.sum(axis=0).astype(np.float64)
    enough = count >= least
    mean = _mean(np.where(known, deviations, 0.0).sum(axis=0), np.where(enough, count, 0.0))
    square = np.where(known, (deviations - mean) ** 2, 0.0).sum(axis=0)
    freedom = np.where(enough, count - 1, 1.0)
    half = stdtrit(freedom, 0.975) * np.sqrt(square / freedom / np.maximum(count, 1.0))
    return Profile(unit * mean, unit * (mean - half), unit * (mean + half))


def _places(run: Run, epochs: tuple[Epoch, ...], size: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Position of each row of the epochs in its own, where batches are missing; None where counting rows is right.

    An epoch whose `index` does not rise is counted. So are all where most batches are missing: columns would be empty.
    """
    column = run.columns.get("index")
    if column is None:
        return None
    counted = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
    column = column[_rows(epochs, size)]
    index = np.where(np.isfinite(column), column, -1).astype(np.int64)
    if np.array_equal(index, counted):
        return None
    number = np.repeat(np.arange(len(size)), size)
    wrong = index < 0
    wrong[1:] |= (np.diff(index) <= 0) & (counted[1:] > 0)
    known = np.bincount(number, weights=wrong) == 0
    places = np.where(known[number], index, counted)
    return places if places.max() < _DENSE * size.max() else None


def _rows(epochs: tuple[Epoch, ...], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """All rows of the epochs, in order."""
    first = np.array([epoch.first for epoch in epochs], dtype=np.int64)
    return np.arange(int(size.sum())) + np.repeat(first - np.cumsum(size) + size, size)


def _sums_at(
    run: Run, epochs: tuple[Epoch, ...], position: NDArray[np.int64], size: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """As `_sums`, of rows at `places` of their epochs."""
    shape = (len(epochs), len(position))
    cell = np.repeat(np.arange(len(size)), size) * shape[1] + np.searchsorted(position, places, side="right") - 1
    loss = run.loss[_rows(epochs, size)]
    finite = np.isfinite(loss)
    total, count = (
        np.bincount(cell[finite], weights=weights, minlength=shape[0] * shape[1]).astype(np.float64)
        for weights in (loss[finite], None)
    )
    return total.reshape(shape), count.reshape(shape)


def _sums(run: Run, epochs: tuple[Epoch, ...], position: NDArray[np.int64], size: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Sum and number of the finite losses of each epoch and column; both float64, shape (epochs, p).

    One pass: `reduceat` over the first rows of all cells, with one more start at the end of each epoch, whose sum (of what
    lies between epochs) is dropped.
    """
    first = np.array([epoch.first for epoch in epochs], dtype=np.int64)
    inside = position[None, :] < size[:, None]
    starts = np.where(inside, first[:, None] + position[None, :], (first + size)[:, None])
    starts = np.concatenate([starts, (first + size)[:, None]], axis=1)
    real = np.concatenate([inside, np.zeros((len(epochs), 1), dtype=bool)], axis=1).reshape(-1)
    loss = np.append(run.loss[: epochs[-1].last], 0.0)  # the last end has to be a row, too
    finite = np.isfinite(loss)
    at = starts.reshape(-1)
    shape = (len(epochs), len(position) + 1)
    total = np.add.reduceat(loss if finite.all() else np.where(finite, loss, 0.0), at)
    count = np.add.reduceat(finite, at, dtype=np.float64)
    total[~real], count[~real] = 0.0, 0.0
    return total.reshape(shape)[:, :-1], count.reshape(shape)[:, :-1]


def _mean(total: Floats, count: Floats) -> Floats:
    """`total / count`, NaN where nothing was counted."""
    out: Floats = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return out
