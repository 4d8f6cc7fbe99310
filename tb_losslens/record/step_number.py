"""Gives each row the user's own step number, or goes on counting from the last one."""

from __future__ import annotations


class StepNumber:
    """Steps of consecutive rows.

    Where the user gives a step for every row, it is taken as it is, also if it goes back: that is a fact about the run.
    Where a step is given only now and then, rows between count on by one, and a given step that lies behind this
    count is left out: it counts something else, updates for example.

    Args:
        first: step of the first row where the user gives none.
    """

    def __init__(self, first: int = 0) -> None:
        self.last = first - 1
        self._guessed = False

    def of(self, given: int | None) -> int:
        """Step of the next row."""
        if given is None or (self._guessed and given <= self.last):
            self._guessed = True
            self.last += 1
        else:
            self._guessed = False
            self.last = given
        return self.last

    def went(self, last: int, given: int | None) -> None:
        """Rows went by that counted on, or on to a step given that lay ahead; the last had this step, and this given."""
        self._guessed = given is None or given < last
        self.last = last

    def correct(self, given: int) -> int | None:
        """The step of the newest row, given after it was stored; None if it is better left as it is."""
        if self._guessed and given < self.last:
            return None
        self._guessed = False
        self.last = given
        return given
