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
import zlib
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol, TypeVar

from tb_losslens.analysis.finding import Diagnosis
from tb_losslens.plugin.entry import Entry, Judged, Overview
from tb_losslens.store.run import Run

T = TypeVar("T")

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
        self._entries: dict[str, Entry] = {}  # least recently used first
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
                version = format(zlib.crc32(repr(tokens[name]).encode()), "x")
                out[name] = Overview(entry.diagnosis, entry.is_live(now, self._live_for), entry.trouble, version)
        self._enqueue(due)
        return out

    def has(self, name: str) -> bool:
        """True if there is such a run; nothing is read for it."""
        return name in self._tokens()

    def run(self, name: str) -> Run | None:
        """The run as it is now, or None if there is no such run."""
        entry = self._entry(name)
        if entry is None:
            return None
        run = self._read(name, entry)
        self._evict(keep=name)
        return run

    def summarised(self, name: str, make: Callable[[Run], T]) -> T | None:
        """What `make` says of the run as it is now, or None if there is no such run; kept when the run's arrays are dropped.

        All callers of one cache must ask with the same `make`.
        """
        entry = self._entry(name)
        if entry is None:
            return None
        if entry.summary is None or entry.summary_token != entry.seen_token:
            token = entry.seen_token
            entry.summary, entry.summary_token = make(self._read(name, entry)), token
            self._evict(keep=name)
        found: T = entry.summary
        return found

    def judged(self, name: str) -> Judged | None:
        """The run with its diagnosis, made now if need be, or None if there is no such run."""
        entry = self._entry(name)
        if entry is None:
            return None
        with entry.judging:
            judged = self._judge(name, entry)
        self._evict(keep=name)
        return judged

    def settled(self, name: str) -> Hashable | None:
        """A value that stands for all that can be said of a run that rests: it was diagnosed as it is now.

        None where there is no such run, and while it grows or waits for its diagnosis: what is said of it then may be
        another thing at the next question.
        """
        token = self._tokens().get(name)
        with self._lock:
            entry = self._entries.get(name)
            rests = entry is not None and entry.diagnosis is not None and not entry.trouble
            return token if rests and entry is not None and entry.seen_token == entry.diagnosed_token == token else None

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

    def _entry(self, name: str) -> Entry | None:
        tokens = self._tokens()
        if name not in tokens:
            return None
        with self._lock:
            entry = self._seen(name, tokens[name], self._clock())
            self._entries[name] = self._entries.pop(name)  # most recently used
            return entry

    def _seen(self, name: str, token: Hashable, now: float) -> Entry:
        entry = self._entries.setdefault(name, Entry())
        if entry.seen_token != token:
            entry.grew = entry.seen_token is not None
            entry.seen_token, entry.changed_at = token, now
        return entry

    def _is_due(self, entry: Entry, token: Hashable, now: float) -> bool:
        if not entry.attempted:
            return True
        rested = now - entry.diagnosed_at >= max(self._every, 10.0 * entry.cost)
        return entry.diagnosed_token != token and rested

    def _read(self, name: str, entry: Entry) -> Run:
        with entry.reading:
            run = entry.run  # another thread may drop it from the entry at any time
            if run is None or entry.run_token != entry.seen_token:
                token = entry.seen_token
                run = self._source.read(name)
                entry.run, entry.run_token = run, token
                entry.run_live = run.live
                entry.run_closed = bool(run.sessions) and bool(run.sessions[-1].get("closed"))
            return run

    def _judge(self, name: str, entry: Entry) -> Judged:
        diagnosis, judged_run = entry.diagnosis, entry.diagnosed_run
        fresh = diagnosis is not None and not self._is_due(entry, entry.seen_token, self._clock())
        if fresh and diagnosis is not None and judged_run is not None:
            return Judged(judged_run, diagnosis)
        with entry.reading:
            run, token = self._read(name, entry), entry.run_token
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
