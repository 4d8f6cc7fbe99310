"""Decides at which boundaries between epochs the states that cost something are read, by what they have cost so far."""

from __future__ import annotations

from collections.abc import Callable

from tb_losslens.record.cadences import training_time

SHARE = 0.002
"""Of the time of the training: what these readings may cost on average."""

FIRST = 32
"""Boundaries at which they are made in any case: short trainings are read whole."""

_SAVED = 8
"""Boundaries that may be paid for from what was saved: epochs that last no time may follow long ones."""

_NEW = 0.25


class Ends:
    """Spends a share of the training's own time on what is read at the end of an epoch and at the begin of the next.

    An epoch of a small model may last a tenth of a second, and to read the states of everything is then the most of what
    recording costs. Both sides of a boundary are read, or neither: only two states that follow each other say anything.

    Args:
        clock: gives the time of the training in seconds.

    Attributes:
        reads: the boundary that is on is read, or the next one where an epoch is.
    """

    def __init__(self, clock: Callable[[], float] = training_time) -> None:
        self._clock = clock
        self._then = clock()
        self._boundaries = 0
        self._purse = self._cost = self._paid = 0.0
        self.reads = True

    def paid(self, seconds: float) -> None:
        """A reading took so many seconds."""
        self._paid += seconds

    def ended(self, *, skip: bool = False) -> bool:
        """An epoch has ended; True if the boundary after it is read. One to `skip` is not, and costs and counts nothing."""
        if skip:
            self.reads = False
            return False
        now = self._clock()
        income = SHARE * max(0.0, now - self._then)
        self._then = now
        if self._paid:
            self._cost = self._paid if not self._cost else self._cost + _NEW * (self._paid - self._cost)
        if self._boundaries >= FIRST:
            owed = self._paid if self._boundaries > FIRST else 0.0  # the first ones are granted
            self._purse = min(self._purse + income - owed, _SAVED * self._cost)
        self._paid = 0.0
        self._boundaries += 1
        self.reads = self._boundaries <= FIRST or self._purse >= self._cost
        return self.reads
