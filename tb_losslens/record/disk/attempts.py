"""Writes to a sink what waits for it, and after a write that failed tries again, more and more seldom."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from tb_losslens.record.disk.backlog import Backlog
from tb_losslens.record.disk.sinks import Sink

RETRY, SELDOM = 1.0, 60.0
"""Seconds until a write that failed is tried again; doubled after each that fails, up to SELDOM."""


class Attempts:
    """The attempts to write one event file. Only `begin` and `fail` are called outside the thread that writes.

    Args:
        warn: called at most once, with a sentence, when a write has failed.

    Attributes:
        backlog: what waits to be written.
        failed: nothing will be written any more.
        trouble: why nothing can be written now; empty if that works.
        due: when a write that failed is to be tried again, by the monotonic clock.
    """

    def __init__(self, warn: Callable[[str], None] | None) -> None:
        self._warn = warn
        self._sink: Sink | None = None
        self._path = ""
        self._first = b""
        self._remote = False
        self._pause = RETRY
        self.backlog = Backlog()
        self.failed = False
        self.trouble = ""
        self.due = 0.0

    def begin(self, sink: Sink, path: str, first: bytes, *, remote: bool) -> None:
        """Writes to `sink` from now on.

        Args:
            sink: a file that is open.
            path: its name, for a warning.
            first: what stands before everything else, and is written with it.
            remote: after a failure it is unknown how much of a write stands there: nothing is tried again.
        """
        self._sink, self._path, self._first, self._remote = sink, path, first, remote
        self.backlog = Backlog()
        self._pause, self.due = RETRY, 0.0

    def write(self, *, flush: bool, insist: bool, last: bool) -> None:
        """Writes what waits, unless a write failed a moment ago.

        Args:
            flush: brings it to the disk, too.
            insist: tries now whatever was; if there is not room for all, then the newest chunk comes first.
            last: what cannot be written now never will be.
        """
        if not self.trouble or insist or time.monotonic() >= self.due:
            self._try(flush=flush, insist=insist)
        if last:
            self.failed = self.failed or bool(self.backlog)
        if self.failed:
            self.backlog.give_up()
        elif self.trouble:
            self.backlog.shed()

    def _try(self, *, flush: bool, insist: bool) -> None:
        """Writes what waits, or where that fails those chunks for which there is room."""
        if self._append(self.backlog.data, flush=flush):
            self.backlog.written()
            self.trouble, self._pause = "", RETRY
            return
        chunks = self.backlog.chunks(last_first=insist)
        there = list(itertools.takewhile(lambda entry: self._append(entry[0], flush=flush), chunks))
        self.backlog.written(there)
        if len(there) < len(chunks):
            self.due = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, SELDOM)

    def _append(self, data: bytes, *, flush: bool) -> bool:
        """Writes all or nothing; False if it failed."""
        if self.failed or self._sink is None:
            return False
        try:
            if data or self._first:
                self._sink.write(self._first + data)
                self._first = b""
            if flush:
                self._sink.flush()
        except OSError as error:
            if self._remote:
                self.fail(self._path, error)
            else:
                self._stall(error)
            return False
        except Exception as error:  # noqa: BLE001  a training goes on whatever happens to its record
            self.fail(self._path, error)
            return False
        return True

    def _stall(self, error: OSError) -> None:
        self.trouble = error.strerror or str(error)
        self._say(
            f"LossLens cannot write to {self._path} ({error}): batches are lost until that works again; the training goes on."
        )

    def fail(self, path: str, error: Exception) -> None:
        """Gives up, and says so."""
        if not self.failed:
            self.failed = True
            self._say(f"LossLens cannot write to {path} ({error}); the training goes on without a record from here.")

    def _say(self, text: str) -> None:
        warn, self._warn = self._warn, None
        if warn is not None:
            warn(text)
