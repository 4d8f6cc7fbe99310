"""The plain difference of the loss after and before each epoch boundary: a fact for the ordinary dashboards, no verdict."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

_LONGEST = 1000


class BoundaryJump:
    """Means of m batches on either side of a boundary, m = 2 % of the epoch before it, at least 5.

    m never exceeds half of that epoch, nor 1,000. A difference with a loss that is not finite is not written.

    Args:
        write: called with the jump and the step of the first batch after the boundary, m batches after it.
        share: m as a share of the epoch.
        least: smallest m.
    """

    def __init__(self, write: Callable[[float, int], None], *, share: float = 0.02, least: int = 5) -> None:
        self._write = write
        self._share = share
        self._least = least
        self._losses: deque[float] = deque(maxlen=_LONGEST)
        self._epoch = -1
        self._length = 0
        self._before = math.nan
        self._m = 0
        self._step = 0

    def add(self, loss: float, epoch: int, step: int) -> None:
        """The next row."""
        if epoch != self._epoch:
            self._boundary(step)
            self._epoch, self._length = epoch, 0
        self._losses.append(loss)
        self._length += 1
        if self._m and self._length == self._m:
            after = _mean(self._losses, self._m)
            jump, self._m = after - self._before, 0
            if math.isfinite(jump):
                self._write(jump, self._step)

    def extend(self, losses: list[float], epoch: int, steps: list[int]) -> None:
        """The next rows, all of one epoch."""
        done = 0
        while done < len(losses) and (self._m or epoch != self._epoch):  # up to where the jump is known
            self.add(losses[done], epoch, steps[done])
            done += 1
        self._losses.extend(losses[done:])
        self._length += len(losses) - done

    def _boundary(self, step: int) -> None:
        self._m = 0
        if self._epoch < 0 or not self._length:
            return
        self._m = min(max(self._least, round(self._share * self._length)), max(1, self._length // 2), _LONGEST)
        self._before = _mean(self._losses, self._m)
        self._step = step


def _mean(losses: deque[float], m: int) -> float:
    newest = list(losses)[-m:]
    return math.fsum(newest) / len(newest) if all(map(math.isfinite, newest)) else math.nan
