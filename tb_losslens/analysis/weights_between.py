"""Boundaries at which the weights change although no optimiser steps: an equality of checksums that does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tb_losslens.analysis.weight_records import optimizer_steps, recorded_weights
from tb_losslens.store.run import Run, RunEvent

QUIET = frozenset({"epoch_begin", "epoch_end", "validation_begin", "validation_end", "save", "probe"})
"""Kinds of events that do not say that somebody changes the weights."""


@dataclass(frozen=True)
class Change:
    """An epoch that begins with other weights than the one before ended with.

    Attributes:
        row: its first row.
        equals: the newest event of an earlier batch with exactly these weights, or None.
        loaded: what a state was loaded into between the two, of "model" and "optimizer".
    """

    row: int
    equals: RunEvent | None
    loaded: frozenset[str] = frozenset()


def changed_between(run: Run) -> tuple[list[Change], int]:
    """(changes of the weights between two epochs, boundaries compared).

    A boundary is compared where the checksums of the same parameters are known at both ends, the optimisers made equally
    many steps at both, and no event in between says that a model was replaced or a change made. Where a state was loaded in
    between, weights that equal those of an earlier event are a change whatever the optimisers count and whatever was noted.
    """
    recorded = recorded_weights(run)
    alike: dict[str, list[RunEvent]] = {}
    for event, value in recorded:
        alike.setdefault(value, []).append(event)
    sums = {id(event): value for event, value in recorded}
    lost = {gap.row for gap in run.gaps}
    changes, compared = [], 0
    end: RunEvent | None = None
    loaded: set[str] = set()
    other = False
    for event in run.events:
        if event.kind == "epoch_end":
            end, loaded, other = event, set(), False
        elif event.kind == "restore":
            loaded.add(str(event.fields.get("what", "model")))
        elif event.kind not in QUIET and event.fields.get("about") != "probe":
            other = True
        elif event.kind == "epoch_begin" and end is not None:
            before, now = sums.get(id(end)), sums.get(id(event))
            same_tensors = end.fields.get("checksum_skipped") == event.fields.get("checksum_skipped")
            if before and now and same_tensors and end.batch == event.batch:
                older = _older(alike[now], event) if before != now else None
                sure = not other and (_same_steps(end, event, seen=event.batch not in lost) or "optimizer" in loaded)
                if sure or (older is not None and "model" in loaded):
                    compared += 1
                    if before != now:
                        changes.append(Change(event.batch, older, frozenset(loaded)))
            end = None
    return changes, compared


def _older(alike: Sequence[RunEvent], event: RunEvent) -> RunEvent | None:
    """The last of events with the same weights that is of an earlier batch than `event`."""
    return next((e for e in reversed(alike) if e.batch < event.batch and e.time <= event.time), None)


def _same_steps(end: RunEvent, begin: RunEvent, *, seen: bool) -> bool:
    """True if all optimisers count as many steps at both ends.

    Of one that counts none, as plain SGD, each step is seen, unless (with `seen` False) batches are missing there.
    """
    before, after = optimizer_steps(end), optimizer_steps(begin)
    seen &= (end.fields.get("steps_outside") or 0) == (begin.fields.get("steps_outside") or 0)
    return bool(before) and before == after and (None not in before or seen)
