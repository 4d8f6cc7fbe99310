"""Where a newer process goes on with a run, and whether it has the weights and the optimiser state that were recorded last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tb_losslens.analysis.text import plural
from tb_losslens.analysis.weight_records import Recorded, optimizer_steps, place, recorded_weights
from tb_losslens.store.run import Run, RunEvent


@dataclass(frozen=True)
class Restart:
    """A row at which a newer process begins, with what is known of its state.

    Attributes:
        row: its first row.
        weights: the newest event before it whose weights are equal to those that it begins with, or None.
        newest: the newest event before it with a checksum of the weights, or None.
        begins: its own first checksum of the weights was recorded.
        had, has: parameters with optimiser state before it and at its begin, None where unknown.
        other: the weights that the run ended with were recorded, and those that it begins with equal no recorded ones.
        loaded: the process before loaded a state into the model after its last step.
        validated: the weights are those of a validation after the last step, as averaged ones, and not those of the training.
    """

    row: int
    weights: RunEvent | None
    newest: RunEvent | None
    begins: bool
    had: int | None
    has: int | None
    other: bool = False
    loaded: bool = False
    validated: bool = False

    @property
    def stale(self) -> bool:
        """True if the weights are those of an earlier batch than the newest ones.

        Several may be recorded of one batch: a validation with averaged weights has its own.
        """
        return self.newest is not None and self.weights is not None and self.weights.batch < self.newest.batch

    @property
    def lost(self) -> bool:
        """True if the optimiser had state and has none."""
        return self.has == 0 and bool(self.had)


def restarts(run: Run) -> list[Restart]:
    """Each process after the first one that has rows here, by its first row; ranks of one training are one process."""
    out: dict[int, Restart] = {}
    for session in run.sessions[1:]:
        at, start = np.flatnonzero(run.step == session.get("first_step")), session.get("start")
        if len(at) != 1 or at[0] == 0 or not isinstance(start, int | float):
            continue
        row = int(at[0])
        known = recorded_weights(run)
        before = [e for e in run.events if e.batch <= row and e.time < start]
        after = [e for e in run.events if e.batch == row and e.time >= start]
        sums = [(e, value) for e, value in known if e.batch <= row and e.time < start]
        begin = next(((e, value) for e, value in known if e.batch == row and e.time >= start), None)
        states = [e for e in before if _with_state(e) is not None]
        same = [e for e, value in sums if begin and value == begin[1]]
        loaded = any(e.kind == "restore" and e.fields.get("what") == "model" and e.batch == row for e in before)
        out[row] = Restart(
            row,
            same[-1] if same else None,
            sums[-1][0] if sums else None,
            begin is not None,
            _with_state(states[-1]) if states else None,
            next((count for e in after if (count := _with_state(e)) is not None), None),
            begin is not None and not same and not loaded and _ended_at(run, row, start, [e for e, _ in sums], begin[0]),
            loaded,
            bool(same) and _validated_only(sums, same),
        )
    return list(out.values())


def _validated_only(sums: Sequence[Recorded], same: Sequence[RunEvent]) -> bool:
    """True if the weights of the training at the newest batch are in `sums`, and `same` are those of validations there."""
    newest = sums[-1][0].batch
    ended = any(event.kind == "epoch_end" and event.batch == newest for event, _ in sums)
    return ended and all(event.batch == newest and event.kind.startswith("validation") for event in same)


def _ended_at(run: Run, row: int, start: float, recorded: Sequence[RunEvent], begin: RunEvent) -> bool:
    """True if one of the `recorded` weights before `row` is what the run had there when the new process, at `begin`, began.

    The end of an epoch right there. That the process before went no further than what is recorded is told by the counts of
    the optimisers, which are not larger now, or else by its end: it was closed, and no later row of it was overtaken.
    """
    ends = [e for e in recorded if e.kind == "epoch_end" and e.batch == row]
    if not ends or ends[-1].fields.get("checksum_skipped") != begin.fields.get("checksum_skipped"):
        return False
    then, now = optimizer_steps(ends[-1]), optimizer_steps(begin)
    if then and len(then) == len(now) and None not in (*then, *now):
        return all(max(b) <= max(a) for a, b in zip(then, now, strict=True))
    sessions = [s for s in run.sessions if isinstance(s.get("start"), int | float) and s["start"] < start]
    last = max(sessions, key=lambda s: float(s["start"]), default=None)
    return last is not None and bool(last.get("closed")) and last.get("last_step") == run.step[row - 1]


def in_words(run: Run, restart: Restart) -> str:
    """That a new process began there, and whether it has the weights and the optimiser state that were recorded last."""
    said = f"a new process began at step {run.step[restart.row]:,}"
    parts = []
    if restart.stale and restart.weights is not None:
        parts.append(f"its weights equal those {place(restart.weights)}")
    elif restart.validated and restart.weights is not None:
        ran = f"its weights equal those that the validation {place(restart.weights)} ran with, as averaged ones that were saved"
        parts.append(f"{ran}, and not those that the training ended with")
    elif restart.weights is not None:
        parts.append(f"its weights equal those recorded last, {place(restart.weights)}")
    elif restart.other and restart.newest is not None:
        parts.append(f"its weights are not those that the run ended with, {place(restart.newest)}, and equal no recorded state")
    elif restart.begins and restart.newest is not None:
        gone = plural(restart.row - restart.newest.batch, "batch")
        parts.append(f"its weights equal no recorded state, the last of which is {gone} older")
    if restart.has is not None and restart.had is not None:
        have = "no state" if not restart.has else f"state for {plural(restart.has, 'parameter')}"
        parts.append(f"its optimiser has {have}, and had it for {restart.had} before")
    return f"{said}: {'; '.join(parts)}" if parts else f"{said}, and its state was not recorded"


def _with_state(event: RunEvent) -> int | None:
    """Parameters with optimiser state, over all optimisers; None where it was not recorded."""
    states = event.fields.get("optimizer_state")
    if not isinstance(states, Sequence) or isinstance(states, str):
        return None
    counts = [_count(state) for state in states if isinstance(state, Mapping)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _count(state: Mapping[str, Any]) -> int | None:
    value = state.get("with_state")
    return value if isinstance(value, int) else None
