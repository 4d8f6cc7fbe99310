"""Sees whether the steps that the user gives to a scalar rise, whatever step its batch is recorded under."""

from __future__ import annotations

from typing import Any


class ScalarSteps:
    """Counts for each tag the writes whose step does not lie beyond the one before, and remembers the first of each kind.

    Attributes:
        facts: by tag, for those with such writes: `written`, `back` with `back_from` and `back_to`, `repeated` with
            `repeated_at`, and `differ`, the repeated steps that were given another value.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float]] = {}
        self._written: dict[str, int] = {}
        self._odd: dict[str, dict[str, int]] = {}

    def write(self, tag: str, value: float, step: int) -> None:
        """The user wrote this scalar."""
        last = self._last.get(tag)
        self._last[tag] = (step, value)
        self._written[tag] = self._written.get(tag, 0) + 1
        if last is None or step > last[0]:
            return
        odd = self._odd.setdefault(tag, {})
        if step < last[0]:
            if not odd.get("back"):
                odd["back_from"], odd["back_to"] = last[0], step
            odd["back"] = odd.get("back", 0) + 1
            return
        odd.setdefault("repeated_at", step)
        odd["repeated"] = odd.get("repeated", 0) + 1
        odd["differ"] = odd.get("differ", 0) + (value != last[1])

    @property
    def facts(self) -> dict[str, Any]:
        """See the class; empty while all steps rise."""
        return {tag: {"written": self._written[tag], **odd} for tag, odd in self._odd.items()}
