"""Where the bytes of an event file go: a local file that stays open, or whatever TensorBoard can write to."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tensorboard.compat import tf


def is_remote(logdir: str | os.PathLike[str]) -> bool:
    """True for the address of a bucket or the like (`gs://...`), which only TensorBoard's file layer can write to."""
    return "://" in os.fspath(logdir)


class Sink(Protocol):
    """A file that grows; used by one thread."""

    size: int
    """Bytes in it so far."""

    def write(self, data: bytes) -> None:
        """Appends all of `data`, or raises and appends nothing."""
        ...

    def flush(self) -> None:
        """Makes sure that readers see what was written."""
        ...

    def close(self) -> None:
        """Flushes and closes."""
        ...

    def forget(self) -> None:
        """Lets go of it in a forked child, writing nothing."""
        ...


class LocalSink:
    """A file on this machine: a new one, or one to append to.

    Raises:
        OSError: it cannot be made, or written to.
    """

    def __init__(self, path: Path, *, append: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | (0 if append else os.O_EXCL)
        self._fd = os.open(path, flags, 0o644)
        self.size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        """See `Sink`."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            with suppress(OSError):  # half a record would hide all later ones of this file from TensorBoard
                os.ftruncate(self._fd, self.size)
            raise
        self.size += len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """See `Sink`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    forget = close


class RemoteSink:
    """A file that TensorBoard's own file layer writes.

    Some stores know no appending, and each flush sends the whole file again; so that happens every `every` seconds only,
    and when asked for.
    """

    def __init__(self, address: str, *, every: float) -> None:
        tf.io.gfile.makedirs(address.rpartition("/")[0])
        self._file = tf.io.gfile.GFile(address, "wb")
        self._every = every
        self._due = 0.0
        self.size = 0

    def write(self, data: bytes) -> None:
        """See `Sink`."""
        self._file.write(data)
        self.size += len(data)
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """See `Sink`."""
        self._due = time.monotonic() + self._every
        self._file.flush()

    def close(self) -> None:
        """See `Sink`."""
        self._file.close()

    def forget(self) -> None:
        """See `Sink`."""
        del self._file
