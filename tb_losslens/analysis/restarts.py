"""Where a newer process goes on with a run, and whether it has the weights and the optimiser state that were recorded last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tb_losslens.analysis.text import plural
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
    """

    row: int
    weights: RunEvent | None
    newest: RunEvent | None
    begins: bool
    had: int | None
    has: int | None

    @property
    def stale(self) -> bool:
        """True if the weights are those of an earlier state than the newest one."""
        different = self.newest is not None and self.weights is not None
        return different and parameters(self.weights) != parameters(self.newest)

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
        before = [e for e in run.events if e.batch <= row and e.time < start]
        after = [e for e in run.events if e.batch == row and e.time >= start]
        sums, states = [e for e in before if parameters(e)], [e for e in before if _with_state(e) is not None]
        now = next((parameters(e) for e in after if parameters(e)), None)
        same = [e for e in sums if now and parameters(e) == now]
        out[row] = Restart(
            row,
            same[-1] if same else None,
            sums[-1] if sums else None,
            now is not None,
            _with_state(states[-1]) if states else None,
            next((count for e in after if (count := _with_state(e)) is not None), None),
        )
    return list(out.values())


def in_words(run: Run, restart: Restart) -> str:
    """That a new process began there, and whether it has the weights and the optimiser state that were recorded last."""
    said = f"a new process began at step {run.step[restart.row]:,}"
    parts = []
    if restart.stale and restart.weights is not None:
        parts.append(f"its weights equal those {place(restart.weights)}")
    elif restart.weights is not None:
        parts.append(f"its weights equal those recorded last, {place(restart.weights)}")
    elif restart.begins and restart.newest is not None:
        gone = plural(restart.row - restart.newest.batch, "batch")
        parts.append(f"its weights equal no recorded state, the last of which is {gone} older")
    if restart.has is not None and restart.had is not None:
        have = "no state" if not restart.has else f"state for {plural(restart.has, 'parameter')}"
        parts.append(f"its optimiser has {have}, and had it for {restart.had} before")
    return f"{said}: {'; '.join(parts)}" if parts else f"{said}, and its state was not recorded"


def place(event: RunEvent) -> str:
    """Where an earlier state was recorded, in words."""
    if event.batch == 0:
        return "from before the first step of the run"
    return f"after step {event.step:,}"


def parameters(event: RunEvent | None) -> str | None:
    """Checksum of the weights at an event, None where it was not recorded."""
    value = event.fields.get("parameters") if event is not None else None
    return value if isinstance(value, str) and value else None


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
