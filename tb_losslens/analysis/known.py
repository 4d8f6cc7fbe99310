"""Of which batches a signal was read, and which of them were read without regard to their loss.

On very quick trainings the recorder reads what costs something of some batches only: in turn, near epoch boundaries, and
where the loss is unusual. The last are a selection, unless their whole epoch was read: a statement on "the batches" must leave
them out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.once import once_a_run
from tb_losslens.store.run import Run

_BY_LOSS = 3


def is_known(run: Run, name: str) -> NDArray[np.bool_]:
    """Batches of which signal `name` was read, shape (n,); of a list, those that are not empty."""
    if name in run.ragged:
        return np.asarray(np.diff(run.ragged[name].offsets) > 0)
    return np.isfinite(run.float(name))


@once_a_run
def by_turn(run: Run) -> NDArray[np.bool_]:
    """Batches that were not chosen for their loss, shape (n,); all of them where the column `dense` is missing.

    Where a whole epoch was read there was no choice. To leave some out would be one, and in sorted data one by content.
    """
    reason = run.float("dense")
    out = np.asarray(reason != _BY_LOSS)
    out.flags.writeable = False  # all causes share it
    if out.all() or not run.has("epoch"):
        return out
    ends = np.flatnonzero(np.diff(run.columns["epoch"])) + 1
    starts = np.concatenate([[0], ends])
    unread = np.add.reduceat((~(reason > 0)).astype(np.int64), starts)
    whole = np.repeat(unread == 0, np.diff(np.append(starts, len(run))))
    out = np.asarray(out | whole)
    out.flags.writeable = False
    return out


def read_late(run: Run, name: str, *, most: float = 0.05) -> str:
    """Since when signal `name` is read, if more than `most` of the run lies before, as with a late `watch`; "" else."""
    known = np.flatnonzero(is_known(run, name))
    if not len(known) or known[0] <= most * len(run):
        return ""
    return f"not recorded before step {int(run.step[known[0]]):,}, of {int(known[0]):,} of {len(run):,} batches"


def mostly_known(run: Run, name: str, first: int, last: int, *, part: float = 0.5) -> bool:
    """True if signal `name` was read of at least `part` of the rows `first <= row < last`."""
    if not run.has(name) or last <= first:
        return False
    return bool(is_known(run, name)[first:last].mean() >= part)
