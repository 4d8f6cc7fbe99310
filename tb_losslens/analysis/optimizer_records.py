"""What an optimiser remembered at the ends of epochs, and where in one process it began anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tb_losslens.analysis.bad_rows import first_nonfinite
from tb_losslens.analysis.changes import replaced_at, restored_at
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.text import number, plural
from tb_losslens.store.run import Run, RunEvent

State = Mapping[str, Any]
"""What was recorded of one optimiser: `class`, `parameters`, `with_state`, and `step` and `norms` where it has them."""


@dataclass(frozen=True)
class Reset:
    """A place at which an optimiser has less of a memory than it had.

    Attributes:
        row: the first row that was trained with it.
        number: which of the watched optimisers, from 0.
        name: its class.
        parameters: how many parameters it had state for.
        steps: what it counted before, None where it counts nothing.
        now: what it has instead, in words.
        loaded: `load_state_dict` was called on an optimiser there.
        replaced: another object of the same class took its place there.
    """

    row: int
    number: int
    name: str
    parameters: int
    steps: float | None
    now: str
    loaded: bool = False
    replaced: bool = False


@dataclass(frozen=True)
class Memory:
    """What was compared: `resets` in order of their rows, `compared` boundaries with a memory, `classes` of optimisers."""

    resets: tuple[Reset, ...]
    compared: int
    classes: tuple[str, ...]


@once_a_run
def recorded_states(run: Run) -> list[tuple[RunEvent, tuple[State, ...]]]:
    """Each event with the state of the optimisers, in order; numbers that a device told later stand where they belong."""
    out: list[tuple[RunEvent, list[dict[str, Any]]]] = []
    owed: dict[tuple[str, Any], list[dict[str, Any]]] = {}
    for event in run.events:
        for item in event.fields.get("late_optimizer_state") or ():
            if isinstance(item, Mapping):
                _complete(owed.pop((str(item.get("at")), item.get("epoch")), []), item)
        states = event.fields.get("optimizer_state")
        if isinstance(states, list | tuple):
            copies = [dict(state) if isinstance(state, Mapping) else {} for state in states]
            owed[event.kind, event.fields.get("epoch")] = copies
            out.append((event, copies))
    return [(event, tuple(states)) for event, states in out]


def _complete(states: list[dict[str, Any]], late: Mapping[str, Any]) -> None:
    """Puts numbers named "0.norms.exp_avg" or "0.step.most" into the first of `states`, and so on."""
    for name, value in late.items():
        place, _, rest = str(name).partition(".")
        field, _, key = rest.partition(".")
        if place.isdigit() and int(place) < len(states) and isinstance(value, int | float):
            if field == "norms":
                states[int(place)]["norms"] = {**(states[int(place)].get("norms") or {}), key: value}
            elif field == "step" and key == "most":
                states[int(place)]["step"] = [value, value]


def memory(run: Run) -> Memory:
    """Where optimisers lost their memory within one process, and how much was compared.

    Three equalities tell: an epoch that begins without the state, or with a smaller count, than the one before it ended with; a
    count of steps that is back at the first ones and does not exceed the old count by the end of the epoch; another optimiser
    of the same class and size that has no state at its first step. Nothing is read from a run that is not finite any more, nor
    at the first row of a further process.
    """
    states = recorded_states(run)
    begins = {session.get("first_step") for session in run.sessions[1:]}
    broken = first_nonfinite(run)
    end = broken.row if broken is not None and broken.lasting else len(run)
    found: dict[tuple[int, int], Reset] = {}
    compared: set[int] = set()
    for reset, row in (*_between(run, states), *_by_count(run, states), *_by_object(run, states)):
        if row >= end or row >= len(run) or int(run.step[row]) in begins or not run.continuous(row - 1, row + 1):
            continue
        compared.add(row)
        if reset is not None and not any((near, reset.number) in found for near in (row - 1, row, row + 1)):
            found[row, reset.number] = reset
    classes = dict.fromkeys(str(state.get("class", "optimiser")) for _, all_ in states for state in all_)
    return Memory(tuple(found[key] for key in sorted(found)), len(compared), tuple(classes))


def _between(run: Run, states: Sequence[tuple[RunEvent, tuple[State, ...]]]) -> Iterator[tuple[Reset | None, int]]:
    """Each begin of an epoch with the state at the end of the one before: a reset or None, and its row."""
    for (end, before), (begin, after) in pairwise(states):
        if (end.kind, begin.kind) != ("epoch_end", "epoch_begin") or end.batch != begin.batch or len(before) != len(after):
            continue
        for number_, (old, new) in enumerate(zip(before, after, strict=True)):
            if not old.get("with_state") or not _is_same_kind(old, new):
                continue
            count, now = _steps(old), _steps(new)
            words = ""
            if not new.get("with_state"):
                words = "no state"
            elif count is not None and now is not None and now < count:
                words = f"a count of {plural(round(now), 'step')}"
            elif _is_cleared(old, new):
                words = "moments that are all 0"
            yield (_reset(run, begin.batch, number_, old, words) if words else None), begin.batch


def _by_count(run: Run, states: Sequence[tuple[RunEvent, tuple[State, ...]]]) -> Iterator[tuple[Reset | None, int]]:
    """Rows at which the column of an optimiser's own count begins again, and the count at the end of the epoch agrees."""
    ends = [(event, state) for event, state in states if event.kind == "epoch_end"]
    for name in [name for name in run.columns if name == "opt_step" or name.startswith("opt_step.")]:
        suffix = name.partition(".")[2]
        place = int(suffix) if suffix.isdigit() else 0
        values = run.float(name)
        known = np.flatnonzero(np.isfinite(values))
        drops = np.flatnonzero(np.diff(values[known]) < 0)
        for before, after in zip(known[drops].tolist(), known[drops + 1].tolist(), strict=True):
            count = float(values[before])
            its = [(event.batch, state[place]) for event, state in ends if place < len(state)]
            later = next((state for row, state in its if row > after), None)
            earlier = next((state for row, state in reversed(its) if row <= after), None)
            most = _steps(later) if later is not None else None
            if values[after] > after - before or most is None or most > count:
                continue  # of another parameter only, as of a layer that is trained from here on
            if earlier is not None and later is not None and not _is_same_kind(earlier, later):
                continue
            row = max(before + 1, int(after - values[after]) + 1)
            old = later if earlier is None or not earlier.get("with_state") else earlier
            yield _reset(run, row, place, {**(old or {}), "step": [count, count]}, "a count that begins at 1 again"), row


def _by_object(run: Run, states: Sequence[tuple[RunEvent, tuple[State, ...]]]) -> Iterator[tuple[Reset | None, int]]:
    """Rows at which an optimiser without state took the place of one of the same class and size that had state."""
    for event in run.config_changes[1]:
        facts = event.fields.get("optimizer")
        if not isinstance(facts, Mapping) or facts.get("with_state") != 0 or restored_at(run, event.batch, reach=0) is not None:
            continue
        new = {"class": facts.get("class"), "parameters": sum(n for n in facts.get("groups") or () if isinstance(n, int))}
        # the end of the epoch before; inside an epoch, its begin has been recorded after a change right at it
        before = [state for e, state in states if e.kind == "epoch_end" and e.batch <= event.batch]
        for place, old in enumerate(before[-1] if before else ()):
            if old.get("with_state") and _is_same_kind(old, new):
                yield _reset(run, event.batch, place, old, "no state at its first step"), event.batch
                break


def _reset(run: Run, row: int, place: int, old: State, now: str) -> Reset:
    loaded = any(e.kind == "restore" and e.fields.get("what") == "optimizer" and abs(e.batch - row) <= 1 for e in run.events)
    replaced = replaced_at(run, row, "optimizer") is not None
    count = old.get("with_state")
    known = count if isinstance(count, int) else 0
    return Reset(row, place, str(old.get("class", "optimiser")), known, _steps(old), now, loaded, replaced)


def _is_same_kind(old: State, new: State) -> bool:
    """True if both are of one class and have as many parameters: another one is a change that somebody made."""
    return old.get("class") == new.get("class") and old.get("parameters") == new.get("parameters")


def _is_cleared(old: State, new: State) -> bool:
    norms, before = new.get("norms"), old.get("norms")
    if not isinstance(norms, Mapping) or not isinstance(before, Mapping) or not norms or set(norms) != set(before):
        return False
    return all(value == 0 for value in norms.values()) and any(value not in (0, None) for value in before.values())


def _steps(state: State) -> float | None:
    """The largest count of steps: parameters that joined later have smaller ones."""
    counts = state.get("step")
    known = [v for v in counts if isinstance(v, int | float)] if isinstance(counts, list | tuple) else []
    return float(max(known)) if known else None


def in_words(reset: Reset) -> str:
    """What it had, and what it has."""
    had = f"state for {plural(reset.parameters, 'parameter')}" if reset.parameters else "state"
    count = f" and {number(reset.steps, 6)} steps on its count" if reset.steps is not None else ""
    return f"{reset.name} had {had}{count}, and has {reset.now}"
