"""A rise of the level of the loss over whole epochs after a row: for a loss that takes its time, or that is noisy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.cuts import Cut
from tb_losslens.analysis.stats import Floats, finite, median
from tb_losslens.store.run import Run


def rise_over_epochs(
    run: Run,
    row: int,
    epoch: int,
    *,
    events: Sequence[int],
    clear_z: float = 4.0,
    fold: float = 2.0,
    most_epochs: int = 3,
    least: int = 20,
) -> Cut:
    """The mean of one, two, ... epochs after `row` less that of as many before it; clear where it rises.

    An epoch that draws each sample once has all of them in any window of its length. A window after the row begins a quarter
    of an epoch later, to leave the transition out. Two sizes must agree. The standard error is that of two means of as many
    batches with the larger spread of the two windows, and the rise must be `fold` times that of any cut that holds no event.
    What such cuts rise by is taken off, and what they fall by is not added: falling less than elsewhere is no rise.

    Args:
        run: whose loss is asked.
        row: first row with the new LR.
        epoch: batches of an epoch.
        events: rows of all LR steps; no window holds one but `row` itself.
        clear_z: standard errors that make a rise clear: p below 1e-4 at a row that an event singles out.
        fold: how many times the largest rise at a quiet cut it must be.
        most_epochs: largest window.
        least: batches that a window needs.
    """
    loss = run.loss
    others = np.array([r for r in events if r != row], dtype=np.int64)
    gap = epoch // 4
    judged = []
    for count in range(1, most_epochs + 1):
        size = count * epoch
        if size < least or _crossed(run, others, row - size, row + gap + size):
            break
        move = _contrast(loss, row, size, gap)
        steps = range(size + gap, 8 * size, max(1, epoch // 2))
        cuts = [cut for k in steps for cut in (row - k, row + k)]
        quiet = [cut for cut in cuts if not _crossed(run, np.append(others, row), cut - size, cut + gap + size)]
        placebos = finite(np.array([_contrast(loss, cut, size, gap) for cut in quiet]))
        if not math.isfinite(move) or not len(placebos):
            break
        usual = max(0.0, median(placebos))
        inner = max(np.nanstd(loss[row - size : row]), np.nanstd(loss[row + gap : row + gap + size]))
        error = float(inner) * math.sqrt(2 / size)
        z = (move - usual) / error if error > 0 and move > fold * max(0.0, float(placebos.max())) else 0.0
        judged.append((size, move, usual, z))
    if not judged:
        return Cut(row)
    clear = [one for one in judged if one[1] > 0 and one[3] > clear_z]
    size, move, usual, z = clear[0] if clear else judged[-1]
    return Cut(row, size, move, usual, z, len(clear) >= 2)


def _contrast(loss: Floats, row: int, size: int, gap: int) -> float:
    before, after = loss[max(0, row - size) : row], loss[row + gap : row + gap + size]
    if len(before) < size or len(after) < size or not (np.isfinite(before).all() and np.isfinite(after).all()):
        return math.nan
    return float(after.mean() - before.mean())


def _crossed(run: Run, events: np.ndarray[tuple[int], np.dtype[np.int64]], first: int, last: int) -> bool:
    """True if the rows from `first` to `last` leave the run, hold an event, or have batches missing between them."""
    if first < 0 or last > len(run):
        return True
    return bool(((events > first) & (events < last)).any()) or not run.continuous(first, last)
