"""Answers whether a loss is far from the ones before it, so that its batch is worth a closer look."""

from __future__ import annotations

import math

FAR = 6.0
NEW = 0.05
LEAST = 20


class Unusual:
    """Follows the level of the loss and its mean absolute deviation; a loss that is not finite is always unusual.

    This chooses what is recorded, and judges nothing.
    """

    __slots__ = ("_level", "_seen", "_spread")

    def __init__(self) -> None:
        self._level = self._spread = 0.0
        self._seen = 0

    def is_far(self, loss: float) -> bool:
        """True if `loss` would be unusual."""
        return not (self._seen < LEAST or abs(loss - self._level) <= FAR * self._spread) or loss - loss != 0

    def takes(self, loss: float) -> bool:
        """Takes the next loss if it is a usual one; False, and nothing changed, if not."""
        off = loss - self._level
        if self._seen < LEAST or not abs(off) <= FAR * self._spread:
            return not self.is_far(loss) and not self.add(loss)
        self._level += NEW * off
        self._spread += NEW * (abs(off) - self._spread)
        self._seen += 1
        return True

    def add(self, loss: float) -> bool:
        """Takes the next loss; True if it lies more than six mean deviations from the level, or is NaN or infinite."""
        if not math.isfinite(loss):
            return True
        if not self._seen:
            self._level = loss
        off = loss - self._level
        far = self.is_far(loss)
        if far:
            off = math.copysign(FAR * self._spread, off)  # one value does not move the level far
        new = max(NEW, 1 / (self._seen + 1))
        self._level += new * off
        self._spread += new * (abs(off) - self._spread)
        self._seen += 1
        return far
