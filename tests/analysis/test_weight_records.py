"""Which checksum belongs to which event."""

from __future__ import annotations

from tb_losslens.analysis.weight_records import recorded_weights
from tb_losslens.store.run import Run, RunEvent


def event(kind: str, epoch: int, at: int, **fields: object) -> RunEvent:
    return RunEvent(kind, at, at, float(at), "", {"epoch": epoch, **fields})


def late(kind: str, epoch: int, value: str) -> dict[str, object]:
    return {"at": kind, "epoch": epoch, "parameters": value}


def test_a_late_checksum_belongs_to_the_newest_event_that_it_names() -> None:
    """Two processes count their epochs from 0, and both of them owe checksums."""
    events = (
        event("epoch_begin", 0, 0),
        event("epoch_end", 0, 5, late_checksums=[late("epoch_begin", 0, "a")]),
        event("note", -1, 5, late_checksums=[late("epoch_end", 0, "b")]),
        event("epoch_begin", 0, 6),
        event("epoch_end", 0, 9, parameters="d", late_checksums=[late("epoch_begin", 0, "c")]),
    )
    known = recorded_weights(Run("run", {}, {}, events))
    assert [(e.kind, e.batch, value) for e, value in known] == [
        ("epoch_begin", 0, "a"), ("epoch_end", 5, "b"), ("epoch_begin", 6, "c"), ("epoch_end", 9, "d"),
    ]  # fmt: skip


def test_nothing_is_known_of_a_run_without_checksums() -> None:
    assert recorded_weights(Run("run", {}, {}, (event("epoch_begin", 0, 0, parameters=None),))) == []
