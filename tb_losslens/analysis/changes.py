"""What was changed at a row, on purpose or by replacing an object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.finding import Boundary, Evidence
from tb_losslens.analysis.text import some
from tb_losslens.store.run import Epoch, Run, RunEvent

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


def model_replaced(run: Run, boundaries: Sequence[Boundary]) -> Evidence | None:
    """That another model took the place of the one before at some of these boundaries: its loss is another one anyway."""
    at = [b.index + 1 for b in boundaries if replaced_at(run, b.batch, "model") is not None]
    if not at:
        return None
    return Evidence(f"the model was replaced by another one at boundar{'y' if len(at) == 1 else 'ies'} {some(at)}")


def another_data_set(run: Run, epochs: Sequence[Epoch], k: int) -> bool:
    """True if epoch k + 1 reads another data set than epoch k; the numbers that the recorder gives hold for one process."""
    numbers = [data_of(epoch) for epoch in epochs[k : k + 2]]
    if len(numbers) < 2 or None in numbers or numbers[0] == numbers[1]:
        return False
    before, after = (data_of(epochs[j]) if 0 <= j < len(epochs) else None for j in (k - 1, k + 2))
    if before != numbers[0] and after != numbers[1]:
        return False  # the same data set, maybe, that is built anew for each epoch
    begins = {session.get("first_step") for session in run.sessions[1:]}
    return not begins or int(run.step[epochs[k + 1].first]) not in begins


def data_of(epoch: Epoch) -> object:
    """The number that the recorder gave the data set of an epoch's loader, None where it is unknown."""
    return (epoch.fields.get("loader") or {}).get("data")


def other_objects(run: Run, epochs: Sequence[Epoch], boundaries: Sequence[Boundary]) -> list[Evidence]:
    """What became another one at these boundaries, of which nothing measured says how it acts on the loss: model, data set."""
    model = model_replaced(run, boundaries)
    at = [b.index + 1 for b in boundaries if another_data_set(run, epochs, b.index)]
    where = f"boundar{'y' if len(at) == 1 else 'ies'} {some(at)}"
    data = [Evidence(f"the loader reads another data set than in the epoch before at {where}")] if at else []
    return ([model] if model is not None else []) + data


def _near(run: Run, row: int, reach: int) -> list[RunEvent]:
    batches, events = run.config_changes
    first, last = np.searchsorted(batches, (row - reach, row + reach + 1))
    return list(events[first:last])
