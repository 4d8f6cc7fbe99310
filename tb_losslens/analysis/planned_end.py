"""Whether a training ended before its planned end, by the user's own settings, its schedule or a note."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tb_losslens.store.run import Run

_EPOCHS = re.compile(r"^((max|num|n|total|training|train)_?)?(epochs?|epoch_count)$")
_PATIENCE = re.compile(r"^(early_?stop(ping)?_?)?patience$|^early_?stop(ping)?$")
_STOPPED = re.compile(r"early[\s_-]*stop|stopp?(ed|ing)?[\s_-]*early", re.IGNORECASE)

_LENGTH = {"CosineAnnealingLR": "T_max", "OneCycleLR": "total_steps", "PolynomialLR": "total_iters"}
"""Where a schedule with an end says how long it is."""


@dataclass(frozen=True)
class PlannedEnd:
    """What is known of the planned end.

    Attributes:
        part: part of the plan that was trained, NaN where no plan is known; 1 or more is all of it.
        words: the plan and what was trained of it, "" without one.
        patience: validations without a new best after which the settings say to stop, 0 where they do not.
        noted: a note says that it was stopped early.
    """

    part: float
    words: str
    patience: int
    noted: bool


def planned_end(run: Run) -> PlannedEnd:
    """The plan of a run, from `config`, else from a schedule with an end."""
    settings = _flat(run.facts.get("config"))
    epochs = _number(settings, _EPOCHS)
    done = len(run.epochs)
    part, words = float("nan"), ""
    if epochs and done:
        part, words = done / epochs, f"{done:,} of {epochs:,} planned epochs were trained"
    elif (schedule := _schedule(run)) is not None:
        made, total = schedule
        part, words = made / total, f"the schedule was made for {total:,} steps of its own, and {made:,} were made"
    said = [f"{event.text} {event.fields.get('text', '')}" for event in run.events if event.kind == "note"]
    return PlannedEnd(part, words, _number(settings, _PATIENCE), any(_STOPPED.search(text) for text in said))


def _flat(config: object, depth: int = 3) -> dict[str, Any]:
    """Settings by the last part of their names, those of inner mappings too."""
    if not isinstance(config, Mapping):
        return {}
    out: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping) and depth:
            out |= _flat(value, depth - 1)
        else:
            out[re.split(r"[./]", str(name))[-1].lower()] = value
    return out


def _number(settings: Mapping[str, Any], name: re.Pattern[str]) -> int:
    """The only whole number above 0 under a name of this form, 0 where there is none, or several that differ."""
    found = {
        int(value)
        for key, value in settings.items()
        if name.match(key) and isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9
    }
    return found.pop() if len(found) == 1 else 0


def _schedule(run: Run) -> tuple[int, int] | None:
    """(steps that the only scheduler has counted with the last epoch, steps until its end); None where it has no end."""
    facts = run.facts.get("scheduler")
    if not isinstance(facts, Mapping):
        return None
    length = facts.get(_LENGTH.get(str(facts.get("class")), ""))
    counts = [_count(event.fields.get("schedule")) for event in run.events if event.kind == "epoch_end"]
    if not isinstance(length, int) or length < 1 or len(counts) < 2:
        return None
    known = [count for count in counts if count is not None]
    if len(known) < len(counts) or known != sorted(known):  # one that was made anew says nothing of the whole plan
        return None
    before, last = known[-2], known[-1]
    # a scheduler that steps after the epoch has not counted the last one yet
    return last + (last - before if last - before == 1 else 0), length


def _count(schedule: object) -> int | None:
    one = schedule[0] if isinstance(schedule, list | tuple) and len(schedule) == 1 else None
    steps = one.get("steps") if isinstance(one, Mapping) else None
    return steps[0] if isinstance(steps, list | tuple) and len(steps) == 1 and isinstance(steps[0], int) else None
