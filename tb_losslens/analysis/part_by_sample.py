"""What came, by the losses of the same samples in the epochs beside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.jump_part import Part
from tb_losslens.analysis.resample import Draws
from tb_losslens.analysis.stats import Floats, mean
from tb_losslens.analysis.text import plural
from tb_losslens.analysis.windows import usual_size, windows
from tb_losslens.store.run import Epoch, Run


def by_sample(run: Run, boundary: Boundary, near: tuple[Epoch, ...]) -> Part:
    """How hard the samples of the two windows are in other epochs, where the model met them in another order."""
    if len(near) < 2:
        return Part(None)
    first, last = near[0].first, near[-1].last
    ids, losses, row = samples_of(run, first, last)
    loss = run.loss[first:last]
    left, right = (slice(side.start - first, side.stop - first) for side in windows(run, boundary))
    beyond = losses - loss[row]  # how much harder than its own batch: the level of the epoch drops out
    usual = usual_size(run, boundary)[first:last][row]
    before = (row >= left.start) & (row < left.stop) & usual
    came = (row >= right.start) & (row < right.stop) & usual
    known = np.isfinite(beyond) & ~before & ~came
    if not known.any() or not before.any() or not came.any():
        return Part(None)
    names, which = np.unique(ids, return_inverse=True)
    count = np.bincount(which[known], minlength=len(names))
    total = np.bincount(which[known], weights=beyond[known], minlength=len(names))
    hard = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    seen = np.isfinite(hard[which])
    if seen[before].mean() < 0.8 or seen[came].mean() < 0.8:
        return Part(None, "Which samples: too few of them came in the epochs beside.")
    value = mean(hard[which[came]]) - mean(hard[which[before]])
    both = plural(int((before | came).sum()), "sample")
    level, many = [], []
    for side, mine in ((left, before), (right, came)):
        used = mine & seen
        size = np.bincount(row[used] - side.start, minlength=side.stop - side.start).astype(np.float64)
        summed = np.bincount(row[used] - side.start, weights=hard[which[used]], minlength=side.stop - side.start)
        level.append(np.divide(summed, size, out=np.full(len(size), np.nan), where=size > 0))
        many.append(size)
    apart = np.bincount(which[came & seen], minlength=len(names)) / many[1].sum()
    apart -= np.bincount(which[before & seen], minlength=len(names)) / many[0].sum()
    spread = beyond[known] - hard[which[known]]  # of one sample from one epoch to another
    free = int(known.sum()) - int((count > 0).sum())
    with np.errstate(over="ignore"):  # an error that is infinite is left out of the draws
        variance = float((spread**2).sum()) / free if free > 0 else 0.0
        error = float(np.sqrt(variance * (apart**2 / np.maximum(count, 1)).sum()))

    def draws(drawn: Draws) -> Floats:
        return drawn.difference(*level, weight=(many[0], many[1])) + drawn.normal(error)

    return Part(value, f"Which samples: from the losses of the same {both} in the epochs beside.", draws)


def samples_of(run: Run, first: int, last: int) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Ids, losses and row of each sample in `first <= row < last`, flat; of the rows whose two lists match."""
    ids, losses = run.ragged["sample_ids"], run.ragged["per_sample"]
    a, b = np.asarray(ids.offsets[first : last + 1]), np.asarray(losses.offsets[first : last + 1])
    alike = np.diff(a) == np.diff(b)
    row = np.repeat(np.arange(last - first), np.where(alike, np.diff(a), 0))
    return (
        np.asarray(ids.values[a[0] : a[-1]], dtype=np.int64)[np.repeat(alike, np.diff(a))],
        np.asarray(losses.values[b[0] : b[-1]], dtype=np.float64)[np.repeat(alike, np.diff(b))],
        row,
    )
