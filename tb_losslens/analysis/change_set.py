"""Everything that is known to have been changed at a boundary: settings, objects, the data set, and what the user noted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.changes import OBJECTS, another_data_set, data_of
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.optimizer_records import recorded_states
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Epoch, Run, RunEvent

_REACH = 1
"""Batches from a boundary within which an event is of it."""

_OF_A_CHANGE = re.compile(
    r"\b(chang|switch|freez|froz|unfreez|unfroz|add|remov|enabl|disabl|turn|drop|rais|lower|increas|decreas|reduc|replac|new\b|"
    r"now\b|off\b|without\b|phase|stage|halv|doubl)",
    re.IGNORECASE,
)
"""What a plain note says when it tells of a change; others, as "best so far", do not."""


@dataclass(frozen=True)
class ChangeSet:
    """What was changed at one boundary.

    Attributes:
        seen: changes that the recorder saw by itself, one line each.
        noted: lines of the user that are config changes.
        said: plain notes of the user that speak of a change.
    """

    seen: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """All of them; the user's are quoted."""
        return (*self.seen, *(f'"{text}"' for text in (*self.noted, *self.said)))

    @property
    def things(self) -> tuple[str, ...]:
        """What was changed, by name: the optimiser, the data, dropout...; each note is a thing of its own."""
        quoted = (f'"{text}"' for text in (*self.noted, *self.said))
        return tuple(dict.fromkeys([*(_thing(line) for line in self.seen), *quoted]))

    def __bool__(self) -> bool:
        return bool(self.lines)


def change_sets(
    run: Run, epochs: Sequence[Epoch], boundaries: Sequence[Boundary], *, habit: float = 0.5
) -> dict[int, ChangeSet]:
    """What was changed at each boundary, by its index; only those at which something was.

    What is so at more than `habit` of the boundaries, and at three at least, is a habit of the loop and no change of mind: it
    is left out.
    """
    sets: dict[int, dict[str, list[str]]] = {}
    rows = [*run.config_changes[0].tolist(), *notes_of_a_change(run)[0].tolist()]
    near = {row + shift for row in rows for shift in range(-_REACH, _REACH + 1)}
    data = [data_of(epoch) if epoch.fields else None for epoch in epochs]
    for boundary in boundaries:
        k = boundary.index
        if boundary.batch not in near and data[k] == data[k + 1]:
            continue  # nothing is known to have happened there
        found = _at(run, epochs, boundary)
        if any(found.values()):
            sets[boundary.index] = found
    counts: dict[str, int] = {}
    for found in sets.values():
        for line in {_gist(line) for lines in found.values() for line in lines}:
            counts[line] = counts.get(line, 0) + 1
    often = {line for line, count in counts.items() if count > max(2, habit * len(boundaries))}
    out = {}
    for index, found in sets.items():
        left = {key: tuple(line for line in lines if _gist(line) not in often) for key, lines in found.items()}
        if any(left.values()):
            out[index] = ChangeSet(**left)
    return out


def _at(run: Run, epochs: Sequence[Epoch], boundary: Boundary, *, reach: int = _REACH) -> dict[str, list[str]]:
    row = boundary.batch
    batches, events = run.config_changes
    low, high = np.searchsorted(batches, (row - reach, row + reach + 1))
    near = [event for event in events[low:high] if not event.fields.get("about")]
    found: dict[str, list[str]] = {"seen": [], "noted": [], "said": []}
    for event in near:
        if event.fields.get("automatic"):
            if event.fields.get("when") != "within an epoch":
                found["seen"] += _settings(event)
        elif event.fields and not set(event.fields) - OBJECTS:
            found["seen"] += [] if _changes_nothing(run, event) else [event.text or "an object was replaced"]
        else:
            found["noted"].append(" ".join(event.text.split()) or "config_change")
    if any("optimizer" in event.fields for event in near):
        found["seen"] += _settings_of_optimizer(run, epochs, row)
    if another_data_set(run, epochs, boundary.index) and not any("data" in line for line in found["seen"]):
        found["seen"].append("the loader reads another data set")
    batches, notes = notes_of_a_change(run)
    low, high = np.searchsorted(batches, (row - reach, row + reach + 1))
    found["said"] = [" ".join(event.text.split()) for event in notes[low:high]]
    return {key: list(dict.fromkeys(lines)) for key, lines in found.items()}


@once_a_run
def notes_of_a_change(run: Run) -> tuple[NDArray[np.int64], tuple[RunEvent, ...]]:
    """The plain notes that speak of a change, by row, and the rows: int64, shape (notes,), sorted."""
    notes = sorted((e for e in run.events if e.kind == "note" and _tells_of_a_change(e)), key=lambda e: e.batch)
    return np.array([e.batch for e in notes], dtype=np.int64), tuple(notes)


def _tells_of_a_change(event: RunEvent) -> bool:
    return not event.fields.get("about") and not event.fields.get("automatic") and bool(_OF_A_CHANGE.search(event.text))


def _settings_of_optimizer(run: Run, epochs: Sequence[Epoch], row: int) -> list[str]:
    """Settings of an optimiser that nobody named, which are read at the end of the epoch that begins with it."""
    end = next((epoch.last for epoch in epochs if epoch.first == row), None)
    late = [e for e in run.config_changes[1] if e.batch == end and e.fields.get("when") == "within an epoch"]
    return [line for event in late for line in _settings(event) if line.startswith("optimizer")]


def _settings(event: RunEvent) -> list[str]:
    """One line for each setting that changed; the same change of many modules is one."""
    changes = event.fields.get("changes")
    if not isinstance(changes, Mapping):
        return [event.text or "settings changed"]
    same: dict[tuple[str, str], list[str]] = {}
    for key, pair in changes.items():
        old, new = pair if isinstance(pair, list | tuple) and len(pair) == 2 else ("?", pair)
        same.setdefault((str(key).split(" of ", maxsplit=1)[0], f"{_shown(old)} -> {_shown(new)}"), []).append(str(key))
    return [
        f"{keys[0]} {values}" if len(keys) == 1 else f"{kind} of {len(keys):,} modules {values}"
        for (kind, values), keys in same.items()
    ]


def _shown(value: object) -> str:
    return number(value, 6) if isinstance(value, float) else str(value)[:80]


def _thing(line: str) -> str:
    """The object that a line is about: of a model, which kind of its settings."""
    first = line.split(" of ", maxsplit=1)[0].split(maxsplit=1)[0].rstrip(":")
    return {"loader": "data", "the": "data", "trainable": "trainable parameters", "optimizer": "optimiser"}.get(first, first)


def _changes_nothing(run: Run, event: RunEvent) -> bool:
    """True for an optimiser in the place of one of the same class that remembers nothing, as plain SGD."""
    facts = event.fields.get("optimizer")
    if not isinstance(facts, Mapping):
        return False
    before = [states for e, states in recorded_states(run) if e.batch <= event.batch and e.kind == "epoch_end"]
    states = before[-1] if before else ()
    return any(state.get("class") == facts.get("class") and state.get("with_state") == 0 for state in states)


def _gist(line: str) -> str:
    """A line without its numbers: what comes again with other values is the same habit."""
    return re.sub(r"\d[\d.e+-]*", "#", line)


def lr_change(run: Run, row: int, *, least: float = 1.2) -> str:
    """How the LR changes at `row`, in words; "" where it does so by less than a factor of `least`."""
    lr = run.float("lr")
    if not 0 < row < len(lr) or not lr[row - 1] > 0 or not lr[row] > 0:
        return ""
    ratio = float(lr[row] / lr[row - 1])
    if not math.isfinite(ratio) or max(ratio, 1 / ratio) < least:
        return ""
    return f"LR {number(float(lr[row - 1]))} -> {number(float(lr[row]))}"
