"""Keeps a failure of the recorder away from the training, and measures what the recorder costs."""

from __future__ import annotations

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
        """One warning; where warnings are errors, too, it does not stop the training."""
        try:
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        except RuntimeWarning:
            # the user turned warnings into errors; ours is about the recorder and not about the training
            return
