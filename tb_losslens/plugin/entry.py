"""What the cache keeps of one run, and what it hands out of it."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.store.lists import Lists
from tb_losslens.store.run import Run


class Judged(NamedTuple):
    """A diagnosis and the very run that it speaks of: rows may have been added or overtaken since."""

    run: Run
    diagnosis: Diagnosis


@dataclass(frozen=True)
class Overview:
    """What is known of a run without waiting; `diagnosis` is None while it is pending, `trouble` says why it failed.

    `version` is another text as soon as the run has grown, long before that is judged.
    """

    diagnosis: Diagnosis | None
    live: bool
    trouble: str
    version: str = ""

    def words(self) -> tuple[str, str, str]:
        """Kind, verdict and verdict in a few words; a failure comes before what was known earlier."""
        if self.trouble:
            return "unknown", self.trouble, "not readable"
        known = self.diagnosis
        return (known.kind, known.verdict, known.short) if known is not None else ("pending", "", "")


@dataclass
class Entry:
    """State of one run; `RunCache` holds the locks that its fields are read and written under."""

    reading: threading.RLock = field(default_factory=threading.RLock)
    judging: threading.RLock = field(default_factory=threading.RLock)  # a diagnosis must not hold up the timeline
    run: Run | None = None
    run_token: Hashable = None
    run_live: bool = False
    run_closed: bool = False
    diagnosed_run: Run | None = None
    diagnosis: Diagnosis | None = None
    diagnosed_token: Hashable = None
    attempted: bool = False
    diagnosed_at: float = 0.0
    cost: float = 0.0
    seen_token: Hashable = None
    changed_at: float = 0.0
    grew: bool = False
    trouble: str = ""
    summary: Any = None
    summary_token: Hashable = None

    def is_live(self, now: float, live_for: float) -> bool:
        """True while the run grows: it says so itself, or TensorBoard was seen loading more of one that is not closed."""
        if self.run_closed or now - self.changed_at >= live_for:
            return False
        return self.run_live or self.grew

    def nbytes(self) -> int:
        """Bytes of the arrays that this entry holds."""
        runs = {id(run): run for run in (self.run, self.diagnosed_run) if run is not None}
        return sum(run_nbytes(run) for run in runs.values())


def run_nbytes(run: Run) -> int:
    """Bytes of a run's columns and of those lists that are in memory."""
    lists = run.ragged.loaded() if isinstance(run.ragged, Lists) else run.ragged
    columns = sum(column.nbytes for column in run.columns.values())
    return columns + sum(item.values.nbytes + item.offsets.nbytes for item in lists.values())
