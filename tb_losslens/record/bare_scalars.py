"""Answers whether a loop that wraps no loader writes a scalar once for each step of its optimiser."""

from __future__ import annotations

_ENOUGH = 3
"""Steps in a row with one write each that make a scalar that of a batch."""


class BareScalars:
    """Scalars that may be the loss of a batch, in a training of which nothing else is told.

    Without a loader or a watched model, only the optimiser's steps tell the loss of a batch from a mean of an epoch: one
    step lies between two writes of the first, many between two of the second. Where an epoch is one step, both are the same.

    Attributes:
        found: such a scalar was found.
        after_step: it is written after the step of its batch, not before.
        tags: all that were asked about.
    """

    def __init__(self) -> None:
        self.found = False
        self.after_step = False
        self.tags: set[str] = set()
        self._steps: dict[int, int] = {}
        self._written: dict[int, dict[str, tuple[float, int | None]]] = {}

    @property
    def optimizers(self) -> set[int]:
        """Ids of the optimisers that made a step."""
        return set(self._steps)

    def stepped(self, optimizer: int) -> None:
        """An optimiser makes a step that belongs to no known batch."""
        self._steps[optimizer] = self._steps.get(optimizer, 0) + 1

    def write(self, tag: str, value: float, step: int | None) -> list[dict[str, tuple[float, int | None]]] | None:
        """The user wrote a candidate; the scalars of each batch so far if it is one of each batch, else None."""
        now = max(self._steps.values(), default=0)  # of two optimisers that take turns, the one of more steps
        if not self.tags:
            self.after_step = now > 0
        self.tags.add(tag)
        if tag in self._written.get(now, {}):
            self._written = {}
        self._written.setdefault(now, {})[tag] = (value, step)
        self._written = {count: tags for count, tags in self._written.items() if count > now - _ENOUGH}
        self.found = all(tag in self._written.get(now - back, {}) for back in range(_ENOUGH))
        return [self._written[count] for count in sorted(self._written)] if self.found else None
