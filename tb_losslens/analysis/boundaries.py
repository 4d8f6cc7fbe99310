"""Where the epochs of a run meet, as arrays, and whether there is enough around them to measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries_of_plain import facts_of, no_loss, plain_refusal
from tb_losslens.analysis.stats import finite
from tb_losslens.analysis.text import number, plural
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Cuts:
    """One element for each pair of neighbouring epochs, in order; all int64, shape (boundaries,).

    Where batches are missing in an epoch, only its rows between the hole and the boundary are meant: none at all where the hole
    lies at the boundary itself, which then is not measured.

    Attributes:
        first, last: rows `first <= row < last` of the epoch before.
        start, end: rows of the epoch after; `start` is `last` unless rows without an epoch lie between.
        epoch: number of the epoch after.
        length: median batches of an epoch, 0 without epochs; an epoch that is still running does not count.
    """

    first: Rows
    last: Rows
    start: Rows
    end: Rows
    epoch: Rows
    length: int

    def __len__(self) -> int:
        return len(self.first)


def find_cuts(run: Run) -> Cuts:
    """The boundaries of a run, cut where the logged epoch changes."""
    epochs = run.epochs
    first = np.array([e.first for e in epochs], dtype=np.int64)
    last = np.array([e.last for e in epochs], dtype=np.int64)
    number = np.array([e.epoch for e in epochs], dtype=np.int64)
    lengths = last - first
    whole = lengths[:-1] if len(lengths) > 1 else lengths
    length = int(np.median(whole)) if len(whole) else 0
    before, after = _unbroken(run, first[:-1], last[:-1], first[1:], last[1:])
    return Cuts(before, last[:-1], first[1:], after, number[1:], length)


def _unbroken(run: Run, first: Rows, last: Rows, start: Rows, end: Rows) -> tuple[Rows, Rows]:
    """`first` and `end` moved towards the boundary, up to where no batch is missing."""
    first, end = first.copy(), end.copy()
    for gap in run.gaps:
        first = np.where((first < gap.row) & (gap.row <= start), np.minimum(gap.row, last), first)
        end = np.where((last <= gap.row) & (gap.row < end), np.maximum(gap.row, start), end)
    return first, end


def part_of_epoch(run: Run, *, each: float = 0.02, thinned: float = 0.04) -> float:
    """The part of an epoch that a window has: more where a row stands for many batches and has the noise of one."""
    return thinned if run.plain and facts_of(run).get("every") != 1 else each


def window_sizes(length: int, *, part: float = 0.02, at_least: int = 5) -> tuple[int, ...]:
    """Batches a side: the size to report first, then half and double of it, for epochs of `length` batches.

    `part` of an epoch but at least 5, and never over a quarter of it (a third for the double), so that there is room
    for cuts that are no boundary. Empty below 8 batches an epoch.
    """
    if length < 8:
        return ()
    base = max(1, min(max(at_least, round(part * length)), length // 4))
    sizes = (base, (base + 1) // 2, min(2 * base, length // 3))
    return tuple(dict.fromkeys(sizes))


def nothing(run: Run) -> str:
    """Why a run that has no batch has none, as a sentence; "" where it has some."""
    if len(run):
        return ""
    if run.plain and no_loss(run):
        return no_loss(run)
    passes = int(run.facts.get("empty_passes") or 0)
    if passes and not run.unread:
        times = "once" if passes == 1 else f"{passes:,} times"
        return f"The loader gave no batch: it was iterated {times} and is empty. Is its dataset, or its sampler, empty?"
    return run.unread or "No batch has been recorded yet."


def refusal(run: Run, cuts: Cuts, *, least_batches: int = 10, least_boundaries: int = 2) -> str:
    """Why the boundaries of this run cannot be judged, as a sentence; "" if they can."""
    if len(run) == 0:
        return nothing(run)
    if run.plain:
        least = {"least_batches": least_batches, "least_boundaries": least_boundaries}
        return plain_refusal(run, len(cuts), cuts.length, **least) or _constant(run)
    if not run.has("loss") and run.recorded("loss"):
        return f"The loss was recorded, and it is NaN in each of the {plural(len(run), 'batch')}."
    if not run.has("loss"):
        return f"The batch loss was not recorded: `{how_to_record('loss')}`."
    if not run.epochs:
        return f"It is unknown where epochs begin: `{how_to_record('epoch')}`, or call `writer.start_epoch(epoch)`."
    if len(cuts) == 0:
        return f"The run has one epoch so far ({plural(len(run), 'batch')}): there is no boundary yet."
    if cuts.length < least_batches:
        return (
            f"An epoch has {plural(cuts.length, 'batch')}; below {least_batches} a jump cannot be told from noise. "
            "A smaller batch, or the loss of each micro-batch, would show it."
        )
    if len(cuts) < least_boundaries:
        return f"The run has {len(cuts):,} boundary; at least {least_boundaries} are needed to tell a pattern from chance."
    return _constant(run)


def _constant(run: Run, *, least: int = 20) -> str:
    """That the loss is one and the same number, in `least` batches or more, as a sentence; "" where it is not."""
    known = finite(run.loss)
    if len(known) < least or (known != known[0]).any():
        return ""
    each = plural(len(known), "point" if run.plain else "batch")
    return f"The loss is {number(float(known[0]))} in each of {each}: nothing is learned, or another number is logged."
