"""Closes what is open when the process ends: at exit, and on SIGTERM before whatever was to happen then."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from types import FrameType
from typing import Any, Protocol

from tb_losslens.record.guard import Guard


class Closable(Protocol):
    """A writer."""

    _guard: Guard

    def flush(self) -> None:
        """Brings everything to disk."""

    def close(self) -> None:
        """Ends the recording."""


_open: dict[int, Any] = {}
"""Held until they are closed: one that is dropped without being closed is closed at exit."""

_previous: Any = None
_installed = False


def register(writer: Closable) -> None:
    """Has `writer` closed at exit and flushed on SIGTERM; the signal only if this is the main thread."""
    _open[id(writer)] = writer
    _install()


def forget(writer: Closable) -> None:
    """It was closed."""
    _open.pop(id(writer), None)


def _install() -> None:
    global _previous, _installed  # noqa: PLW0603 - one handler a process
    if _installed or threading.current_thread() is not threading.main_thread():
        return
    _previous = signal.getsignal(signal.SIGTERM)
    if _previous is None:
        return  # installed by something that is not Python: it cannot be chained to
    signal.signal(signal.SIGTERM, _terminated)
    _installed = True


def _writers() -> list[Any]:
    return list(_open.values())


@atexit.register
def _close_all() -> None:
    for writer in _writers():
        writer.close()


def _terminated(number: int, frame: FrameType | None) -> None:
    for writer in _writers():
        if writer._guard.busy:  # it came in the middle of a call of ours
            writer._guard.when_idle(lambda: _terminated(number, frame))
            return
    for writer in _writers():
        writer.flush()
    _chain(number, frame)


def _chain(number: int, frame: FrameType | None) -> None:
    if callable(_previous):
        _previous(number, frame)
    elif _previous == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)
