"""Keeps runs and their diagnoses between requests, and makes them in the background where nobody should wait.

One entry a run. A run is read again when its change token differs, and diagnosed again then, but a growing run at most
every few seconds and never for more than a tenth of the time. Arrays are dropped, least recently used first, once they
pass a memory cap; diagnoses are small and stay.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.store.lists import Lists
from tb_losslens.store.run import Run

_LOG = logging.getLogger(__name__)

MEMORY = 512 << 20
"""Bytes of arrays that are kept at most, beyond the run that was used last: a million batches take about 80 MB."""


class RunSource(Protocol):
    """Where runs come from; see store/provider.py."""

    def tokens(self) -> Mapping[str, Hashable]:
        """Each recorded run's name with a value that changes when it grows. Cheap."""
        ...

    def read(self, name: str) -> Run:
        """The whole run as it is now.

        Raises:
            LossLensError: if there is no such run any more.
        """
        ...

    def forget(self, name: str) -> None:
        """Drops what is kept to read the run again faster."""
        ...


class Judged(NamedTuple):
    """A diagnosis and the very run that it speaks of: rows may have been added or overtaken since."""

    run: Run
    diagnosis: Diagnosis


@dataclass(frozen=True)
class Overview:
    """What is known of a run without waiting; `diagnosis` is None while it is pending, `trouble` says why it failed."""

    diagnosis: Diagnosis | None
    live: bool
    trouble: str


@dataclass
class _Entry:
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

    def is_live(self, now: float, live_for: float) -> bool:
        """True while the run grows: it says so itself, or TensorBoard was seen loading more of one that is not closed."""
        if self.run_closed or now - self.changed_at >= live_for:
            return False
        return self.run_live or self.grew

    def nbytes(self) -> int:
        """Bytes of the arrays that this entry holds."""
        runs = {id(run): run for run in (self.run, self.diagnosed_run) if run is not None}
        return sum(run_nbytes(run) for run in runs.values())


class RunCache:
    """Runs of one experiment, shared by all requests. Thread safe.

    Args:
        source: where runs are read.
        diagnose: what judges a run.
        memory: bytes of arrays that are kept at most, beyond the run used last.
        every: seconds at least between two diagnoses of a run that grows.
        live_for: seconds without a change after which a run no longer counts as growing.
        list_every: seconds for which a list of runs is good: a page asks for several things at once, and a list of a
            million batches costs TensorBoard's data server 40 ms.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        source: RunSource,
        diagnose: Callable[[Run], Diagnosis],
        *,
        memory: int = MEMORY,
        every: float = 5.0,
        live_for: float = 60.0,
        list_every: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._diagnose = diagnose
        self._memory = memory
        self._every = every
        self._live_for = live_for
        self._clock = clock
        self._list_every = list_every
        self._listing = threading.Lock()  # guards the two below, and is held while runs are listed
        self._listed: Mapping[str, Hashable] = {}
        self._listed_at = -math.inf
        self._lock = threading.Lock()  # guards the three below; never held while a run is read or diagnosed
        self._entries: dict[str, _Entry] = {}  # least recently used first
        self._queue: dict[str, None] = {}
        self._worker: threading.Thread | None = None

    def overview(self) -> dict[str, Overview]:
        """All runs by name, sorted, with the last known diagnosis. Never waits: what is due is made in the background."""
        tokens, now = self._tokens(), self._clock()
        out = {}
        due = []
        with self._lock:
            for name in self._entries.keys() - tokens.keys():
                del self._entries[name]
            for name in sorted(tokens):
                entry = self._seen(name, tokens[name], now)
                if self._is_due(entry, tokens[name], now):
                    due.append(name)
                out[name] = Overview(entry.diagnosis, entry.is_live(now, self._live_for), entry.trouble)
        self._enqueue(due)
        return out

    def run(self, name: str) -> Run | None:
        """The run as it is now, or None if there is no such run."""
        entry = self._entry(name)
        if entry is None:
            return None
        run = self._read(name, entry)
        self._evict(keep=name)
        return run

    def judged(self, name: str) -> Judged | None:
        """The run with its diagnosis, made now if need be, or None if there is no such run."""
        entry = self._entry(name)
        if entry is None:
            return None
        with entry.judging:
            judged = self._judge(name, entry)
        self._evict(keep=name)
        return judged

    def wait(self, timeout: float = 60.0) -> bool:
        """Waits until nothing is left to do in the background; False if that took longer than `timeout` seconds."""
        with self._lock:
            worker = self._worker
        if worker is not None:
            worker.join(timeout)
            return not worker.is_alive()
        return True

    def nbytes(self) -> int:
        """Bytes of arrays held now."""
        with self._lock:
            return sum(entry.nbytes() for entry in self._entries.values())

    def _tokens(self) -> Mapping[str, Hashable]:
        with self._listing:
            if self._clock() - self._listed_at >= self._list_every:
                self._listed = self._source.tokens()
                self._listed_at = self._clock()
            return self._listed

    def _entry(self, name: str) -> _Entry | None:
        tokens = self._tokens()
        if name not in tokens:
            return None
        with self._lock:
            entry = self._seen(name, tokens[name], self._clock())
            self._entries[name] = self._entries.pop(name)  # most recently used
            return entry

    def _seen(self, name: str, token: Hashable, now: float) -> _Entry:
        entry = self._entries.setdefault(name, _Entry())
        if entry.seen_token != token:
            entry.grew = entry.seen_token is not None
            entry.seen_token, entry.changed_at = token, now
        return entry

    def _is_due(self, entry: _Entry, token: Hashable, now: float) -> bool:
        if not entry.attempted:
            return True
        rested = now - entry.diagnosed_at >= max(self._every, 10.0 * entry.cost)
        return entry.diagnosed_token != token and rested

    def _read(self, name: str, entry: _Entry) -> Run:
        with entry.reading:
            if entry.run is None or entry.run_token != entry.seen_token:
                token = entry.seen_token
                entry.run = self._source.read(name)
                entry.run_token = token
                entry.run_live = entry.run.live
                entry.run_closed = bool(entry.run.sessions) and bool(entry.run.sessions[-1].get("closed"))
            return entry.run

    def _judge(self, name: str, entry: _Entry) -> Judged:
        fresh = entry.diagnosis is not None and not self._is_due(entry, entry.seen_token, self._clock())
        if fresh and entry.diagnosed_run is not None and entry.diagnosis is not None:
            return Judged(entry.diagnosed_run, entry.diagnosis)
        with entry.reading:
            run, token = self._read(name, entry), entry.run_token
        diagnosis = entry.diagnosis
        if not fresh or diagnosis is None or token != entry.diagnosed_token:
            start = self._clock()
            diagnosis = self._diagnose(run)
            entry.diagnosis, entry.diagnosed_token = diagnosis, token
            entry.attempted, entry.trouble = True, ""
            entry.diagnosed_at = self._clock()
            entry.cost = entry.diagnosed_at - start
        entry.diagnosed_run = run
        return Judged(run, diagnosis)

    def _evict(self, *, keep: str) -> None:
        with self._lock:
            sizes = {name: entry.nbytes() for name, entry in self._entries.items() if name != keep}
            total = sum(sizes.values())
            for name, size in sizes.items():
                if total <= self._memory:
                    return
                self._entries[name].run = self._entries[name].diagnosed_run = None
                self._source.forget(name)
                total -= size

    def _enqueue(self, names: list[str]) -> None:
        with self._lock:
            self._queue.update(dict.fromkeys(names))
            if self._queue and self._worker is None:
                self._worker = threading.Thread(target=self._work, name="losslens-diagnosis", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._worker = None
                    return
                name = next(iter(self._queue))
                del self._queue[name]
            try:
                self.judged(name)
            except Exception as error:  # noqa: BLE001 - kept and shown as the verdict of this run; the others go on
                _LOG.exception("LossLens could not diagnose the run %r", name)
                self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return
            entry.attempted, entry.diagnosed_token, entry.diagnosed_at = True, entry.seen_token, self._clock()
            entry.trouble = f"This run could not be read or diagnosed ({type(error).__name__}: {error})"


def run_nbytes(run: Run) -> int:
    """Bytes of a run's columns and of those lists that are in memory."""
    lists = run.ragged.loaded() if isinstance(run.ragged, Lists) else run.ragged
    columns = sum(column.nbytes for column in run.columns.values())
    return columns + sum(item.values.nbytes + item.offsets.nbytes for item in lists.values())
