"""Lets threads that log at once through one after the other, and lets none of them wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from tb_losslens.record.disk.forks import forget_in_child


class Turns:
    """Only one call at a time is on, but for those that it makes itself.

    No lock is waited for: a call that comes while another thread has its turn is left to that thread, which makes it when its
    own has ended. A model that logs from a thread of its own, and waits for that, can therefore be called from within.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._left: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        forget_in_child(self)

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Calls `function(*args)`, now or as soon as the other thread is through; those of one thread stay in their order."""
        if (self._left and not self._within) or not self._lock.acquire(blocking=False):
            self._left.append((function, args))
        else:
            try:
                function(*args)
            finally:
                self._lock.release()
        if self._left and not self._within:
            self._catch_up()

    @property
    def _within(self) -> bool:
        """True in a call that is on, which a call from within it does not wait for."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]

    def _catch_up(self) -> None:
        while self._left and self._lock.acquire(blocking=False):
            try:
                if self._left:  # else another thread has made them meanwhile
                    function, args = self._left.popleft()
                    function(*args)
            finally:
                self._lock.release()

    def forget(self) -> None:
        """In a forked child: what other threads had left, and a turn of theirs, are the parent's."""
        self._lock = threading.RLock()
        self._left.clear()
