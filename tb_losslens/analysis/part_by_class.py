"""What came, by the losses of each class before and after: an identity, where the recorder summed them up.

Kitagawa (1955): with the shares p of the classes and their mean losses l,
`J = sum (p1 - p0) (l0 + l1)/2 + sum (l1 - l0) (p0 + p1)/2`: what came, and how the model changed on what it had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.jump_part import Part
from tb_losslens.analysis.resample import Draws, once
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.text import percent, signed
from tb_losslens.analysis.windows import usual_size, windows
from tb_losslens.store.run import Run

_Table = tuple[Floats, Floats, NDArray[np.bool_]]
"""Of one window: shares of the classes in each batch, their parts of its loss, and which batches were read."""


def by_class_losses(run: Run, boundary: Boundary, *, most_new: float = 0.5) -> Part:
    """The first sum of the identity, and in the note the second; None where the sums do not make up the losses of the batches.

    Args:
        run: the run.
        boundary: its windows are those of the jump.
        most_new: part of the class mix that may be new. The loss of a new class tells nothing of how the model changed on it.
    """
    if not run.has("class_losses"):
        return Part(None)
    usual, sides, tables = usual_size(run, boundary), windows(run, boundary), []
    rows = np.concatenate([np.arange(side.start, side.stop)[usual[side]] for side in sides])
    names = np.unique(np.concatenate([np.empty(0), *(_triples(run, row)[:, 0] for row in rows.tolist())]))
    for side in sides:
        table = _table(run, side, usual[side], names)
        if isinstance(table, str):
            return Part(None, f"Which samples: {table}.")
        tables.append(table)
    value, within, new = _kitagawa(tables, once(*(side.stop - side.start for side in sides)))
    if new[0] > most_new:
        return Part(
            None, f"Which samples: cannot be told from what the model forgot; {percent(float(new[0]))} of the class mix is new."
        )
    moved = f"the same classes by themselves moved by {signed(float(within[0]))}"
    note = f"Which samples: by the losses of {len(names):,} classes; {moved}."
    return Part(float(value[0]), note, lambda drawn: _kitagawa(tables, drawn)[0])


def _table(
    run: Run,
    side: slice,
    usual: NDArray[np.bool_],
    names: Floats,
    *,
    least_read: float = 0.8,
    most_rest: float = 0.05,
    most_off: float = 0.02,
) -> _Table | str:
    """One window, or why its losses by class are no measure of its loss."""
    size, loss = run.float("batch_size")[side], run.loss[side]
    count, total = np.zeros((2, len(usual), len(names)))
    for place in np.flatnonzero(usual).tolist():
        mine = _triples(run, side.start + place)
        at = np.searchsorted(names, mine[:, 0])
        count[place, at], total[place, at] = mine[:, 1], mine[:, 2]
    of = count.sum(axis=1)
    read = (of > 0) & np.isfinite(total).all(axis=1) & np.isfinite(loss)
    if not usual.any() or read[usual].mean() < least_read:
        return "the losses by class of too few batches were read here"
    if (of[read] < (1 - most_rest) * np.where(np.isfinite(size), size, of)[read]).any():
        return "there are more classes than were counted"
    of = np.maximum(of, 1.0)[:, None]  # each batch counts alike, as in the jump
    share, part = np.where(read[:, None], count / of, 0.0), np.where(read[:, None], total / of, 0.0)
    off = np.abs(part.sum(axis=1) - loss)[read] / np.maximum(np.abs(loss[read]), 1e-12)
    if np.median(off) > most_off:
        return "the losses by class do not make up the loss, as where classes have weights"
    return share, part, read


def _triples(run: Run, row: int) -> Floats:
    """(class, samples, sum of their losses) of one batch, shape (k, 3)."""
    return np.asarray(run.ragged["class_losses"][row], dtype=np.float64).reshape(-1, 3)


def _kitagawa(tables: list[_Table], drawn: Draws) -> tuple[Floats, Floats, Floats]:
    """What came, how the same classes changed, and which part of the mix is new; each of shape (draws,)."""
    shares, losses = [], []
    for (count, total, read), counts in zip(tables, (drawn.before, drawn.after), strict=True):
        many = np.maximum((counts * read).sum(axis=1), 1e-12)[:, None]
        p, part = (counts * read) @ count / many, (counts * read) @ total / many
        shares.append(p)
        losses.append(np.divide(part, p, out=np.full(p.shape, np.nan), where=p > 0))
    (p0, p1), (l0, l1) = shares, losses
    l0, l1 = np.where(p0 > 0, l0, l1), np.where(p1 > 0, l1, l0)  # a class of one side only has changed by nothing
    l0, l1 = np.where((p0 > 0) | (p1 > 0), l0, 0.0), np.where((p0 > 0) | (p1 > 0), l1, 0.0)
    came = ((p1 - p0) * (l0 + l1) / 2).sum(axis=1)
    changed = ((l1 - l0) * (p0 + p1) / 2).sum(axis=1)
    return came, changed, 0.5 * np.abs(p1 - p0).sum(axis=1)
