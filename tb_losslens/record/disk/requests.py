"""What the training asks of the background thread of an event file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")


class Flush:
    """Asks the background thread to release `lock` when everything before it is written, and then to stop if told so.

    With `insist` it tries again although a write failed a moment ago.
    """

    def __init__(self, *, insist: bool = False, stop: bool = False) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()  # released by the other thread
        self.insist = insist or stop
        self.stop = stop


class Job:
    """Records that are made on the background thread; `done(written)` is called there afterwards."""

    def __init__(self, make: Callable[[], list[bytes]], done: Callable[[bool], None]) -> None:
        self.make = make
        self.done = done


def drain(queue: SimpleQueue[_T]) -> list[_T]:
    """Takes all that is in a queue now."""
    items: list[_T] = []
    try:
        while True:
            items.append(queue.get_nowait())
    except Empty:
        return items
