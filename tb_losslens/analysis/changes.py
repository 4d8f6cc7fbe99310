"""What was changed at a row, on purpose or by replacing an object."""

from __future__ import annotations

from tb_losslens.store.run import Run, RunEvent

OBJECTS = frozenset({"model", "optimizer", "scheduler", "criterion"})
"""Keys of a `config_change` that the recorder writes by itself when such an object takes the place of another."""


def replaced_at(run: Run, row: int, what: str, *, reach: int = 1) -> RunEvent | None:
    """The event that says that a new `what` (one of `OBJECTS`) took the place of another within `reach` rows."""
    return next((e for e in _near(run, row, reach) if what in e.fields), None)


def planned_at(run: Run, row: int, *, reach: int = 1) -> RunEvent | None:
    """A `config_change` that somebody noted within `reach` rows of `row`; what the recorder saw by itself does not count."""
    noted = (event for event in _near(run, row, reach) if not event.fields.get("automatic"))
    return next((event for event in noted if not event.fields or set(event.fields) - OBJECTS), None)


def restored_at(run: Run, row: int, *, reach: int = 1) -> RunEvent | None:
    """A `restore` within `reach` rows of `row`."""
    return next((e for e in run.events if e.kind == "restore" and abs(e.batch - row) <= reach), None)


def _near(run: Run, row: int, reach: int) -> list[RunEvent]:
    return [e for e in run.events if e.kind == "config_change" and abs(e.batch - row) <= reach]
