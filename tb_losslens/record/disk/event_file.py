"""Writes one event file, several times faster than TensorBoard's own writer, and never stops a training.

It stands where torch's `FileWriter.event_writer` stands. The file is kept open, checksums come from C, and every byte is
written by a background thread: the training thread only puts into a queue.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from tensorboard.compat.proto import event_pb2

from tb_losslens.events.crc32c import masked_crc32c
from tb_losslens.record.disk.attempts import Attempts
from tb_losslens.record.disk.forks import forget_in_child
from tb_losslens.record.disk.requests import Flush, Job, drain
from tb_losslens.record.disk.sinks import LocalSink, RemoteSink, Sink, is_remote

_numbers = itertools.count()

LINGER = 0.2
"""Seconds for which the background thread gathers events before it writes them all at once."""

MAX_PENDING = 64 << 20
"""Bytes in the queue from which on the caller waits: a disk slower than the training must not fill the memory."""


def frame(data: bytes) -> bytes:
    """One TFRecord: length, masked CRC of the length, data, masked CRC of the data."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))))


class EventFile:
    """An event file that is open for writing.

    Nothing here raises once the file was asked for. If it cannot be made, `failed` becomes true and everything is dropped.
    If a write fails, as on a full disk, it is tried again now and then (attempts.py); the newest chunks wait for that
    (backlog.py), older ones are told that they were not written. In both cases `warn` is called with a sentence, once.

    Attributes:
        path: the file, or its address.

    Args:
        logdir: directory of the run, created if need be, or an address that TensorBoard can write to.
        max_queue_size: as in torch, and without effect: the queue is bounded by bytes.
        flush_secs: as in torch for an address; what is written to a directory is there within a fraction of a second.
        filename_suffix: appended to the file's name.
        path: an event file of the directory to append to, instead of a new one.
        warn: called at most once, possibly on another thread.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        max_queue_size: int = 10,  # noqa: ARG002
        flush_secs: float = 120,
        filename_suffix: str = "",
        *,
        path: str | os.PathLike[str] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._logdir = os.fspath(logdir)
        self._suffix = filename_suffix
        self._every = flush_secs
        self._attempts = Attempts(warn)
        self._forked = False
        self._sink: Sink | None = None
        self.path = os.fspath(path) if path is not None else self._new_path()
        self._open(append=path is not None)
        forget_in_child(self)

    @property
    def failed(self) -> bool:
        """True if nothing will be written any more."""
        return self._attempts.failed

    @property
    def trouble(self) -> str:
        """Why nothing can be written now; empty if that works."""
        return self._attempts.trouble

    def _new_path(self) -> str:
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        separator = "/" if is_remote(self._logdir) else os.sep
        return self._logdir.rstrip(separator) + separator + name + self._suffix

    def _open(self, *, append: bool) -> None:
        self._queue: SimpleQueue[bytes | Job | Flush] = SimpleQueue()
        self._hurry: SimpleQueue[None] = SimpleQueue()
        self._pending = 0
        self._thread: threading.Thread | None = None
        thread = threading.Thread(target=self._work, name="losslens-event-file", daemon=True)
        try:
            self._sink = self._make_sink(append=append)
            first = b"" if self._sink.size else frame(_first_event())
            self._attempts.begin(self._sink, self.path, first, remote=is_remote(self.path))
            thread.start()
        except Exception as error:  # noqa: BLE001  each kind of store has its own errors, and threads may be used up, too
            self._attempts.fail(self.path, error)
            return
        self._thread = thread
        self._queue.put(Flush())  # so that it is written at once

    def _make_sink(self, *, append: bool) -> Sink:
        if is_remote(self.path):
            return RemoteSink(self.path, every=self._every)
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                return LocalSink(Path(self.path), append=append)
            except FileExistsError:  # another container with the same host name and process number, in this second
                self.path = self._new_path()

    def get_logdir(self) -> str:
        """Directory of the event file."""
        return self._logdir

    def add_event(self, event: event_pb2.Event) -> None:
        """Appends one event."""
        if not isinstance(event, event_pb2.Event):
            raise TypeError(f"expected an event_pb2.Event, got {type(event)}")
        self.add_bytes(event.SerializeToString())

    def add_bytes(self, data: bytes) -> None:
        """Appends one serialized event."""
        if self._thread is None or self.failed:
            return
        self._pending += len(data)
        if self._pending > MAX_PENDING:
            self.flush()
        self._queue.put(data)

    def add_job(self, make: Callable[[], list[bytes]], done: Callable[[bool], None]) -> None:
        """Has serialized events made, and appended, by the background thread, at once.

        `done` is told there whether they stand in the file; it is called exactly once, on this thread if there is no
        file any more.
        """
        if self._thread is None or self.failed:
            done(False)
            return
        self._queue.put(Job(make, done))
        self._hurry.put(None)

    def flush(self, *, insist: bool = False) -> None:
        """Returns when everything added before stands in the file, or waits for a later try to write it.

        May be called from a signal handler: it takes no lock that an interrupted call could hold.

        Args:
            insist: tries now, also if a write failed a moment ago; if there is not room for all, then for the newest chunk.
        """
        self._wait(Flush(insist=insist))

    def close(self) -> None:
        """Flushes and closes; a second call does nothing."""
        self._wait(Flush(stop=True))
        self._thread = None
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except Exception as error:  # noqa: BLE001
                self._attempts.fail(self.path, error)

    def reopen(self) -> None:
        """Begins a new file in the same directory after `close`; does nothing if it was not closed."""
        if self._thread is None and not self.failed and not self._forked:
            self.path = self._new_path()
            self._open(append=False)

    def forget(self) -> None:
        """In a forked child: every later call does nothing."""
        self._forked = True
        self._thread = None
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.forget()

    def _wait(self, flush: Flush) -> None:
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self._queue.put(flush)
        self._hurry.put(None)
        while not flush.lock.acquire(timeout=1.0):
            if not thread.is_alive():  # the interpreter is shutting down
                return

    def _work(self) -> None:
        while True:
            items = [self._queue.get()]
            with suppress(Empty):
                self._hurry.get(timeout=LINGER)
            # in this order: what was put before a mark that is taken here is in the queue by now
            drain(self._hurry)
            items += drain(self._queue)
            self._pending = 0
            self._write(items)
            if any(isinstance(item, Flush) and item.stop for item in items):
                return

    def _write(self, items: list[bytes | Job | Flush]) -> None:
        for item in items:
            if isinstance(item, bytes):
                self._attempts.backlog.add(frame(item))
            elif isinstance(item, Job):
                self._make(item)
        flushes = [item for item in items if isinstance(item, Flush)]
        insist, last = any(item.insist for item in flushes), any(item.stop for item in flushes)
        self._attempts.write(flush=bool(flushes), insist=insist, last=last)
        for item in flushes:
            item.lock.release()

    def _make(self, job: Job) -> None:
        try:
            data = b"".join([frame(data) for data in job.make()])
        except Exception as error:  # noqa: BLE001  a training goes on whatever is wrong with its record
            self._attempts.fail(self.path, error)
            job.done(False)
        else:
            self._attempts.backlog.add(data, job.done)


def _first_event() -> bytes:
    """What every event file begins with."""
    return bytes(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
