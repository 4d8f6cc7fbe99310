"""Epochs of which no batch is missing: what compares whole epochs, or places in them, asks this first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tb_losslens.store.run import Epoch, Run


def is_whole(run: Run, epoch: Epoch) -> bool:
    """True if no batch of `epoch` is known to be missing.

    A hole between two epochs may be of the one's end or of the other's start: the count that the recorder kept of its batches
    tells, else both are taken for cut short. An epoch that the loop left early is whole: nothing of it was lost.
    """
    if not any(epoch.first <= gap.row <= epoch.last for gap in run.gaps):
        return True
    batches = epoch.fields.get("batches")
    return isinstance(batches, int) and batches == len(epoch)


def is_compared_in_part(epoch: Epoch) -> bool:
    """True if fingerprints of some samples of `epoch` are missing, or were in the pass before.

    Which samples changed is not all known then, and where the first of them was neither.
    """
    return "fingerprinted_batches" in epoch.fields


def whole_rows(run: Run, epochs: Sequence[Epoch], *, between: bool) -> NDArray[np.bool_]:
    """True for the rows of whole `epochs`, shape (n,); `between` for rows that are of none of them."""
    out = np.full(len(run), between)
    if not run.gaps and epochs is run.epochs and epochs and (run.columns["epoch"] >= 0).all():
        return np.ones(len(run), dtype=bool)  # as nearly always, and at once for a million epochs
    for epoch in epochs:
        out[epoch.first : epoch.last] = is_whole(run, epoch)
    return out


def lost_before(run: Run) -> NDArray[np.int64]:
    """Batches that are missing before each row, int64, shape (n,)."""
    lost = np.zeros(len(run) + 1, dtype=np.int64)
    for gap in run.gaps:
        lost[min(gap.row, len(run))] += gap.batches
    return np.cumsum(lost[:-1])


def unbroken_start(run: Run, epoch: Epoch) -> int:
    """Row up to which the batches of `epoch` are all there from its first one on; `epoch.first` where that is lost."""
    if is_whole(run, epoch):
        return epoch.last
    index = run.float("index")[epoch.first]
    if index != 0 and any(gap.row == epoch.first for gap in run.gaps):
        return epoch.first
    return min([gap.row for gap in run.gaps if epoch.first < gap.row < epoch.last], default=epoch.last)
