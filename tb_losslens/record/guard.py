"""Keeps a failure of the recorder away from the training, and measures what the recorder costs."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

from tb_losslens.record.thread_clock import thread_time

MOST_SAID = 300
"""Characters of an error that a warning quotes, of its first line."""


class Meter:
    """What the short way reads and counts of a guard, in places that native.c finds."""

    __slots__ = ("depth", "spent")

    depth: int
    spent: float


class Guard(Meter):
    """Runs collectors so that none can stop, or quietly slow, the training that it watches.

    A collector that fails is named in one warning and not called again. Calls may nest; only the outermost is timed. What is
    called several times in each step (lane.py) does the same for itself, without the calls.

    A KeyboardInterrupt reaches the loop, which may go on after it, as in a notebook. It may come just when a context manager of
    ours was to put back what it had set for a while, so that this is put back here.

    Args:
        mode: what is so while nothing of ours runs: whether gradients are on.
        put_back: makes it so again.

    Attributes:
        spent: seconds spent in collectors since the start.
        disabled: names of collectors that failed, with what they said.
        stood: seconds of these in which the thread did not run, since others had the processor or the interpreter: on a busy
            machine that is the most of them, and says nothing of what the collectors cost.
        apart: seconds of these that have a budget of their own: the cadence of the others does not count them.
        depth: calls of ours that are on, one in the other.
        began: when the outermost of them did, by `time.perf_counter`.
        waiting: what is to be called when they have ended.
        alive: False once recording has ended (closed, or a forked child): collectors are then skipped.
    """

    def __init__(self, mode: Callable[[], Any] = lambda: None, put_back: Callable[[Any], object] = lambda _: None) -> None:
        self._mode, self._put_back = mode, put_back
        self.spent = self.stood = self.apart = 0.0
        self._ran = 0.0
        self.disabled: dict[str, str] = {}
        self.alive = True
        self._thread = threading.get_ident()
        self.depth = 0
        self.began = 0.0
        self.waiting: list[Callable[[], None]] = []

    @property
    def ran_so_far(self) -> float:
        """Seconds in which the thread ran in collectors, with the call that is on."""
        done = self.spent - self.stood
        if not self.depth:
            return done
        # where the short way has begun the call, the time of the thread is that of an earlier one
        return done + min(perf_counter() - self.began, thread_time() - self._ran)

    @property
    def busy(self) -> bool:
        """True while one of our own calls is on the stack of the thread that made this."""
        return self.depth > 0

    def call(self, collector: str, function: Callable[..., Any], *args: Any) -> Any:
        """`function(*args)`, or None if `collector` is disabled, fails, or recording has ended."""
        if not self.alive or collector in self.disabled:
            return None
        ours = threading.get_ident() == self._thread  # a loader may be iterated on a thread of its own
        mode = self._mode()
        depth = self.depth
        if ours and not depth:
            self.began, self._ran = perf_counter(), thread_time()
        try:
            try:
                if ours:  # within: an interrupt right after it must not leave the depth as it is then
                    self.depth = depth + 1
                return function(*args)
            except Exception as error:  # noqa: BLE001 - the training must go on, whatever went wrong in here
                self._put_back(mode)
                self.disable(collector, error)
                return None
            except BaseException:
                self._put_back(mode)
                raise
            finally:
                if ours:
                    self.depth = depth
        finally:
            # not by a method of ours: an interrupt that comes at the entry of one would leave the depth as it is for good
            if ours:
                self.depth = depth  # again: one that came right before it was set back the first time
                if not depth:
                    took = perf_counter() - self.began
                    self.spent += took
                    self.stood += max(0.0, took - (thread_time() - self._ran))
                    if self.waiting:
                        self.catch_up()

    def catch_up(self) -> None:
        """Calls what has been waiting for the end of our own call."""
        while not self.depth:
            try:
                function = self.waiting.pop(0)
            except IndexError:  # also where another thread was faster
                return
            function()

    def when_idle(self, function: Callable[[], None]) -> None:
        """Calls `function` now, or when the call of ours that is on has ended: a signal may come in its middle."""
        if not self.busy:
            function()
            return
        self.waiting.append(function)
        if not self.busy:  # that of another thread, which has ended in between
            self.catch_up()

    def disable(self, collector: str, error: BaseException) -> None:
        """Stops one collector for good and says so once."""
        if collector in self.disabled:
            return
        # torch's own messages go on for pages
        self.disabled[collector] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:MOST_SAID]}"
        self.warn(f"{collector} is not recorded from here on, the training goes on ({self.disabled[collector]})")

    def warn(self, text: str) -> None:
        """One warning in the name of LossLens."""
        self.say(f"LossLens: {text}")

    def say(self, text: str) -> None:
        """One warning, at the line of the user's that led to it; where warnings are errors, a line in the log instead."""
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=_level_of_caller())
        except RuntimeWarning:
            # it is about the recorder and not about the training, which must not be stopped by it
            logging.getLogger("tb_losslens").warning(text)


def _level_of_caller() -> int:
    """Stack level, as `warnings.warn` in the caller counts it, of the innermost frame outside this package."""
    frame = sys._getframe(1)
    level = 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("tb_losslens."):
        frame = frame.f_back
        level += 1
    return level
