"""Decides how much of a boundary the probe may look at."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

SHARE = 0.01
"""Of the run's time so far that the probe may take: twice the share of the other dear signals, since it is asked for."""

GRANT = 0.5
"""Seconds that it may take at once: in a short run every boundary is looked at."""

GRACE = 2
"""Boundaries that are looked at in full though it costs more than the share, unless one evaluation alone exceeds the budget."""

ALL, FEW, NONE = "all", "few", "none"
FULL_POINTS, FEW_POINTS = 7, 5
"""Evaluations around one boundary: t0, before and after a validation, t1, and one or three after updates."""


class ProbeBudget:
    """A share of the run's time, saved up and spent on whole boundaries.

    A boundary is looked at in full if what is saved up is enough; else without the points after 2 and 5 updates; else not at
    all, which leaves every second, third, ... of them.

    Args:
        share: of the time since this was made.
        grace: boundaries that are looked at in full at the start.
        clock: seconds.
        grant: seconds that may be taken at once.

    Attributes:
        share: as given.
        grant: as given.
        spent: seconds of all evaluations so far.
        each: seconds of one evaluation, as lately; 0 before the first.
    """

    def __init__(
        self, share: float = SHARE, grace: int = GRACE, clock: Callable[[], float] = perf_counter, grant: float = GRANT
    ) -> None:
        self.share = share
        self.grant = grant
        self.grace = grace
        self.spent = 0.0
        self.each = 0.0
        self._clock = clock
        self._begin = clock()
        self._evaluations = 0
        self._boundaries = 0
        self._validations = 0

    @property
    def allowed(self) -> float:
        """Seconds that all evaluations together may have taken by now."""
        return self.grant + self.share * (self._clock() - self._begin)

    @property
    def exceeded(self) -> bool:
        """True where one evaluation takes more than all of them together may have taken by now, and more than `GRANT`."""
        return self.each > max(self.allowed, GRANT)

    def took(self, seconds: float) -> None:
        """An evaluation was made."""
        self._evaluations += 1
        self.spent += seconds
        # the first one takes memory and is slower than all that follow
        self.each = seconds if self._evaluations <= 2 else 0.7 * self.each + 0.3 * seconds

    def boundary(self) -> str:
        """How much of the boundary that begins now is looked at: ALL, FEW or NONE."""
        self._boundaries += 1
        if self._boundaries <= self.grace and not self.exceeded:
            return ALL
        left = self.allowed - self.spent
        if left >= FULL_POINTS * self.each:
            return ALL
        return FEW if left >= FEW_POINTS * self.each else NONE

    def validation(self) -> bool:
        """True if a validation in the middle of an epoch is looked at: before and after it."""
        self._validations += 1
        return (self._validations <= self.grace and not self.exceeded) or self.allowed - self.spent >= 2 * self.each
