"""Which checksum of the weights belongs to which event, also where a device computed it too late for its own record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tb_losslens.analysis.once import once_a_run
from tb_losslens.store.run import Run, RunEvent

Recorded = tuple[RunEvent, str]
"""An event and the checksum of the weights at it."""


@once_a_run
def recorded_weights(run: Run) -> list[Recorded]:
    """Each event with a checksum of the weights, in the order of the events.

    A late checksum names the kind and epoch of its event; it belongs to the newest such event before it, since a process that
    goes on with a run counts its epochs anew.
    """
    sums: dict[int, str] = {}
    owed: dict[tuple[str, Any], int] = {}
    for i, event in enumerate(run.events):
        for item in event.fields.get("late_checksums") or ():
            if isinstance(item, Mapping):
                at = owed.pop((str(item.get("at")), item.get("epoch")), None)
                value = _checksum(item)
                if at is not None and value:
                    sums[at] = value
        value = _checksum(event.fields)
        if value:
            sums[i] = value
        else:
            owed[event.kind, event.fields.get("epoch", -1)] = i
    return [(run.events[i], sums[i]) for i in sorted(sums)]


def optimizer_steps(event: RunEvent) -> list[Any]:
    """What each optimiser counts as its steps at an event: its least and largest count, None where it keeps none."""
    states = event.fields.get("optimizer_state")
    if not isinstance(states, Sequence) or isinstance(states, str):
        return []
    return [state.get("step") if isinstance(state, Mapping) else None for state in states]


def place(event: RunEvent) -> str:
    """Where an earlier state was recorded, in words."""
    if event.batch == 0:
        return "from before the first step of the run"
    return f"after step {event.step:,}"


def _checksum(fields: Mapping[str, Any]) -> str | None:
    value = fields.get("parameters")
    return value if isinstance(value, str) and value else None
