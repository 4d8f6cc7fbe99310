"""Keeps a failure of the recorder away from the training, and measures what the recorder costs."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any


class Guard:
    """Runs collectors so that none can stop, or quietly slow, the training that it watches.

    A collector that fails is named in one warning and not called again. Calls may nest; only the outermost is timed.

    Attributes:
        spent: seconds spent in collectors since the start.
        disabled: names of collectors that failed, with what they said.
        alive: False once recording has ended (closed, or a forked child): collectors are then skipped.
        on_idle: called when the outermost call ends, where a signal had arrived inside it.
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self.disabled: dict[str, str] = {}
        self.alive = True
        self.on_idle: Callable[[], None] | None = None
        self._depth = 0

    @property
    def busy(self) -> bool:
        """True while one of our own calls is on the stack."""
        return self._depth > 0

    def call(self, collector: str, function: Callable[..., Any], *args: Any) -> Any:
        """`function(*args)`, or None if `collector` is disabled, fails, or recording has ended."""
        if not self.alive or collector in self.disabled:
            return None
        start = perf_counter() if not self._depth else 0.0
        self._depth += 1
        try:
            return function(*args)
        except Exception as error:  # noqa: BLE001 - the training must go on, whatever went wrong in here
            self.disable(collector, error)
            return None
        finally:
            self.leave(start)

    def enter(self) -> float:
        """Marks the begin of a call whose errors are the caller's own; give the result to `leave`."""
        start = perf_counter() if not self._depth else 0.0
        self._depth += 1
        return start

    def leave(self, start: float) -> None:
        """Ends what `enter` began."""
        self._depth -= 1
        if self._depth:
            return
        self.spent += perf_counter() - start
        if self.on_idle is not None:
            then, self.on_idle = self.on_idle, None
            then()

    def disable(self, collector: str, error: BaseException) -> None:
        """Stops one collector for good and says so once."""
        if collector in self.disabled:
            return
        self.disabled[collector] = f"{type(error).__name__}: {error}"
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
