"""Decides for which batches the signals that cost something are read, by what they have cost so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter

SHARE = 0.001
"""Of the time of a step: what the signals of one cadence may cost on average. There are two."""

LEAST, MOST = 2e-6, 0.0025
"""Seconds a step that they may cost in any case, as long as that is no more than this share of the step."""

GRANT = 1.0
"""Seconds that dense rows may cost at once: short runs are dense from end to end."""

LONG = 0.012
"""Seconds of a step from which on less is granted, by the square: what a share of long steps pays for is enough of them, and a
grant would be the most of what recording costs in their first minutes."""

FIRST = 8
"""Dense rows that are granted on any step."""

DEEP_GRANT = 0.5
"""The same for what is read of single layers and samples."""

SPARSE, IN_TURN, BOUNDARY, UNUSUAL = 0, 1, 2, 3
"""Why a row is dense; the column `dense`."""

DEEP = 4
"""Added to the reason where what single layers and samples say is read, too."""

_EDGE_SHARE, _EDGE_LEAST = 0.04, 10
_SURE_SHARE = 0.0015

_NEW = 0.1
_WARM_UP = 3
_OUTLIER = 4.0
_AHEAD, _AHEAD_MOST, _AHEAD_TIME = 32, 256, 0.1
"""Rows that may be known to be sparse at once, and on short steps as many as this, or as take so many seconds."""
_FOLLOW = 2
"""Looks after a dense row of which what sparse rows cost more is counted as its cost: the recorder has to come back to them."""
_CHEAPEST = 1e-7
"""Seconds that a row costs at least: a mean that has come to nothing would never learn otherwise."""


class Cadence:
    """Spends a share of the training's own time: half of it near epoch boundaries, half of it in turn everywhere.

    What a dense row costs, what a sparse one costs and how long a step takes are measured all the time. Each step earns its
    share, a dense row pays what it cost beyond a sparse one. A boundary is near within 4 % of the epoch, at least 10
    batches, on either side: twice the window in which its jump is measured.

    Args:
        spent: gives the seconds that was spent on this so far.
        clock: gives the time in seconds.
        grant: seconds that may be spent at once.
        sure: rows on either side of a boundary that are dense whatever was spent, or as many of them as cost no more than
            0.15 % of an epoch.

    Attributes:
        every: batches from one dense row to the next, as of the newest one.
    """

    def __init__(
        self, spent: Callable[[], float], clock: Callable[[], float] = perf_counter, *, grant: float = GRANT, sure: int = 2
    ) -> None:
        self._spent_so_far = spent
        self._clock = clock
        self._then = self._before = math.nan
        self._step = math.nan
        self._costs = {True: math.nan, False: math.nan}
        self._after = math.nan
        self._following, self._followed = 0, 0.0
        self._grant = grant
        self._sure = sure
        self._purses = {IN_TURN: grant, BOUNDARY: grant / 4}
        self._last, self._paid_by = IN_TURN, IN_TURN
        self._payer = IN_TURN
        self._since = 0
        self._rows = self._odd = 0
        self._ahead = self._passed = 0
        self._index = -1
        self.every = 1

    def next(self, index: int, length: int) -> int:
        """Whether the next row is dense, and why.

        Args:
            index: its position in the epoch, -1 where there are no epochs.
            length: batches of the epoch, 0 where unknown.
        """
        if self._ahead and index > self._index:
            self._ahead -= 1
            self._passed += 1
            self._index = index
            return SPARSE
        self._learn(self._passed + 1)
        self._rows += self._passed + 1
        self._since += self._passed + 1
        self._passed = 0
        reach = max(_EDGE_LEAST, math.ceil(_EDGE_SHARE * length))
        near = 0 <= index < reach or (length > 0 and index >= length - reach)
        before, self._last, self._paid_by = self._last, SPARSE, SPARSE
        beside = self._sure_rows(length) if near else 0
        sure = near and (index < beside or 0 < length <= index + beside)
        for purse in (BOUNDARY, IN_TURN) if near else (IN_TURN,):
            if self._money(purse) >= self._extra or sure:
                self._last, self._paid_by = BOUNDARY if near else IN_TURN, purse
                break
        if self._last:
            self.every, self._since = self._since, 0
        self._index = index
        self._ahead = 0
        if self._last == before == SPARSE and self._step > 0 and index >= 0:
            # nothing can be afforded before so many rows: until then this costs next to nothing
            money = max(map(self._money, self._purses)) if near else self._money(IN_TURN)
            last = length - (beside if near else reach)  # from there on more may be afforded
            wait = int((self._extra - money) / self._income)
            most = max(_AHEAD, min(_AHEAD_MOST, int(_AHEAD_TIME / self._step)))
            self._ahead = max(0, min(wait, most, (last - index if length else most) - 1))
        return self._last

    @property
    def ahead(self) -> int:
        """Rows after the newest one that are sparse for sure: `next` need not be asked for them, only `skip` be told."""
        return self._ahead

    def skip(self, rows: int, index: int) -> None:
        """So many of the rows that were `ahead` went by, the last of them at position `index` in the epoch."""
        self._ahead -= rows
        self._passed += rows
        self._index = index

    def passed(self, rows: int) -> None:
        """So many rows were sparse without this having been asked."""
        self._passed += rows
        self._ahead = max(0, self._ahead - rows)

    def unusual(self) -> bool:
        """True if the row that is on may become dense because its loss is unusual: one in fifty may."""
        if self._odd * 50 > self._rows + 1000:
            return False
        self._odd += 1
        return True

    def _sure_rows(self, length: int) -> int:
        """Rows beside a boundary that are dense however long ago the grant was spent: each epoch is compared with the next."""
        rows = self._sure
        while rows and not 2 * rows * self._extra <= _SURE_SHARE * self._step * length:  # also before a step is known
            rows -= 1
        return rows

    @property
    def _extra(self) -> float:
        """Seconds that a dense row costs beyond a sparse one, as far as is known."""
        dense = self._costs[True]
        return 0.0 if math.isnan(dense) else self._beyond_sparse(dense) + _known(self._after)

    def _money(self, purse: int) -> float:
        """Seconds in a purse that may be spent: on long steps most of the grant is held back, until they are short again."""
        if not self._step > LONG:
            return self._purses[purse]
        kept = self._grant - max((LONG / self._step) ** 2 * self._grant, FIRST * self._extra)
        return self._purses[purse] - max(0.0, kept) * (0.25 if purse == BOUNDARY else 1.0)

    def _beyond_sparse(self, cost: float) -> float:
        """What is left of the cost of a dense row without that of a sparse one: half of it at least.

        While all rows are dense no sparse one is measured again: had the last of them been interrupted, dense rows would seem
        to cost nothing for ever.
        """
        return max(cost - _known(self._costs[False]), cost / 2)

    @property
    def _income(self) -> float:
        """Seconds that each purse gets for a step."""
        return max(SHARE * self._step, min(LEAST, MOST * self._step)) / 2

    def _learn(self, rows: int) -> None:
        """Takes what the last `rows` rows took: the first of them of the kind that was then decided, the others sparse."""
        now, spent = self._clock(), self._spent_so_far()
        # a training that goes on in another thread has another clock: that one step is none
        took, cost = max(0.0, now - self._then) / rows, spent - self._before
        self._then, self._before = now, spent
        if self._rows <= _WARM_UP:
            return  # memory is taken, threads start, code is loaded: once
        # a validation or a pause between two batches is no step, and a file that is opened no usual cost
        self._step = _mean(self._step, took, rows)
        if self._last != SPARSE:
            self._pay_dense(cost - (rows - 1) * _known(self._costs[False]))
        elif self._following and not math.isnan(self._costs[False]):
            self._pay_after(cost - rows * self._costs[False])
        else:
            self._costs[False] = _mean(self._costs[False], max(cost / rows, _CHEAPEST), rows)
        income = rows * self._income
        spare = max(0.0, self._purses[BOUNDARY] + income - self._grant / 4)  # what boundaries do not need
        self._purses[BOUNDARY] += income - spare
        self._purses[IN_TURN] = min(self._grant, self._purses[IN_TURN] + income + spare)


    def _pay_dense(self, cost: float) -> None:
        """A dense row has cost so much."""
        cost = max(cost, _CHEAPEST)
        self._costs[True] = _mean(self._costs[True], cost)
        self._payer = self._paid_by
        self._purses[self._payer] -= self._beyond_sparse(min(cost, _OUTLIER * self._costs[True]))
        self._following, self._followed = _FOLLOW, 0.0

    def _pay_after(self, cost: float) -> None:
        """The rows after it have cost so much more than sparse rows do."""
        self._following -= 1
        self._followed += max(cost, 0.0)
        if not self._following:
            # no more than a few times a dense row: a single interruption must not be what dense rows seem to cost from then on
            follows = min(self._followed, _OUTLIER * max(_known(self._after), self._costs[True]))
            self._after = follows if math.isnan(self._after) else self._after + _NEW * (follows - self._after)
            self._purses[self._payer] -= follows


def _known(cost: float) -> float:
    return 0.0 if math.isnan(cost) else cost


def _mean(mean: float, value: float, rows: int = 1) -> float:
    """The running mean with the new value of so many rows, which counts for no more than a few times the mean."""
    if math.isnan(mean):
        return value
    return mean + (1 - (1 - _NEW) ** rows) * (min(value, _OUTLIER * mean) - mean)
