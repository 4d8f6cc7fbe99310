"""Where inside an epoch targets began to be others: at the first batch with a sample whose target changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.inside import size_of
from tb_losslens.analysis.shifts import shifts
from tb_losslens.analysis.whole import is_compared_in_part
from tb_losslens.store.run import Epoch, Run


@dataclass(frozen=True)
class Begin:
    """Where it began, what says so, and whether the loss rises there."""

    step: int
    evidence: tuple[Evidence, ...]
    moves: bool


def begin_of(run: Run, epoch: Epoch, *, near: int = 3) -> Begin | None:
    """The batch inside `epoch` at which targets began to be others; None where it may be its first one.

    Args:
        run: the run.
        epoch: in which samples came back with another target.
        near: rows from there in which a rise of the loss is that of the targets.
    """
    row = began_inside(run, epoch)
    if row is None:
        return None
    step = int(run.step[row])
    said = Evidence(f"none of the samples before step {step:,} of that epoch came with another target")
    shift = next((one for one in shifts(run) if abs(one.row - row) <= near), None)
    return Begin(step, (said,) if shift is None else (said, size_of(shift)), shift is not None)


def began_inside(run: Run, epoch: Epoch, *, expected: float = 10.0, room: float = 4.0) -> int | None:
    """The first row of `epoch` with a sample that came back with another target; None where that may be its first one.

    The recorder tells the first samples of an epoch that changed, in the order of their delivery. A sampler that draws with
    replacement may have brought some of them before as well, with their old target: the row is the only one from which on these
    samples come in the order that is told. Before it there must be so many samples that `expected` of them would have changed
    at the rate after it, and the samples that are told must lie as close together as that rate has them, or they stand for
    others (those of a `Subset`). Where not all were compared, one that changed may have come before those that are told.

    Args:
        run: the run.
        epoch: with the fields `targets_compared`, `targets_changed` and `target_changes`.
        expected: samples.
        room: factor on the rows that the told samples may take.
    """
    told, changed = _told(epoch.fields.get("target_changes")), epoch.fields.get("targets_changed")
    lists = run.ragged.get("sample_ids")
    if not len(told) or not isinstance(changed, int) or lists is None or len(lists) < epoch.last:
        return None
    if is_compared_in_part(epoch):
        return None
    offsets = lists.offsets[epoch.first : epoch.last + 1] - lists.offsets[epoch.first]
    ids = lists.values[lists.offsets[epoch.first] : lists.offsets[epoch.last]]
    places = np.flatnonzero(np.isin(ids, told))
    came = ids[places]
    starts = [i for i in range(len(came) - len(told) + 1) if np.array_equal(came[i : i + len(told)], told)]
    if len(starts) != 1:
        return None
    held = np.searchsorted(offsets[1:], places[starts[0] : starts[0] + len(told)], side="right")
    first, last = int(held[0]), int(held[-1])
    before, after = int(offsets[first]), int(offsets[-1] - offsets[first])
    rate = min(1.0, changed / max(after, 1))
    each = after / max(epoch.last - epoch.first - first, 1)
    if rate * before < expected or last - first > room * len(told) / (rate * each) + 1:
        return None
    return epoch.first + first


def _told(changes: object) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    pairs = changes if isinstance(changes, Sequence) and not isinstance(changes, str) else []
    return np.array([one[0] for one in pairs if isinstance(one, Sequence) and len(one)], dtype=np.int64)
