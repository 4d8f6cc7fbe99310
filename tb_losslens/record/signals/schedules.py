"""Tells which learning rates the schedulers should have set by now, and finds a scheduler that nobody named."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from tb_losslens.record.collector import Collector
from tb_losslens.record.row import Row
from tb_losslens.record.signals.closed_form import NoForm, closed_form

MOST_SEARCHES = 4
"""Times that the objects of the process are looked through for a scheduler: 20 to 70 ms each."""

MOST_GROUPS = 16
"""Parameter groups of an optimiser whose rates are told."""

Found = Callable[[list[Any], bool], None]
"""Called with schedulers that nobody named, and whether they stand beside those of the same optimiser."""


class Schedules(Collector):
    """Is the learning rate the one that the declared schedule gives, and who sets it?

    Column `lr_closed_form` (`.1`, ... of further groups, numbered as `lr` is): rate by the formula of the scheduler, for as
    many steps as it has counted. Where `lr` differs from it, somebody else set the rate, or the scheduler was built again.

    Field `schedule` at both ends of an epoch, a list with one mapping for each optimiser that has schedulers: `class` and
    `steps` (its own count, `last_epoch`) of each of them, `lr` of each group, and `closed_form` of each group or, in its
    place, `skipped`, the reason. How many steps it counts in an epoch says in which unit it is stepped.

    A rate that changes while no known scheduler counted a step was set by another one, or by hand: then the schedulers of the
    process are looked through for one of this optimiser.

    Args:
        optimizers: gives the watched optimisers.
        schedulers: gives the watched schedulers.
        found: takes what was found.
    """

    exact_ends = True
    name = "schedule"

    def __init__(
        self, optimizers: Callable[[], Sequence[Optimizer]], schedulers: Callable[[], Sequence[Any]], found: Found
    ) -> None:
        self._optimizers = optimizers
        self._schedulers = schedulers
        self._found = found
        self._rates: weakref.WeakKeyDictionary[Optimizer, list[float]] = weakref.WeakKeyDictionary()
        self._steps: dict[int, int] = {}
        self._moved: set[int] = set()
        self._searches = 0

    def step_begins(self, row: Row, optimizer: Optimizer) -> None:
        """The rates by the formula, beside those that the step is made with."""
        its = self._of(optimizer)
        if not its:
            return
        before = 0
        for known in self._optimizers():
            if known is optimizer:
                break
            before += len(known.param_groups)
        try:
            rates = closed_form(its)
        except NoForm:
            return
        numbered = enumerate(rates[:MOST_GROUPS], before)
        self.tell(row, {f"lr_closed_form.{number}" if number else "lr_closed_form": rate for number, rate in numbered})

    def epoch_begins(self, epoch: int) -> dict[str, Any] | None:  # noqa: ARG002 - the collector's signature
        """`schedule`, where there is a scheduler."""
        return self._look()

    def epoch_ends(self, epoch: int) -> dict[str, Any] | None:  # noqa: ARG002 - the collector's signature
        """The same: before a scheduler makes its step of the epoch."""
        return self._look()

    def unread(self, kind: str, epoch: int) -> dict[str, Any] | None:
        """A boundary that is told late: at its begin alone, since the schedulers have made their step."""
        return self.epoch_begins(epoch) if kind == "epoch_begin" else None

    def _of(self, optimizer: Optimizer) -> list[Any]:
        return [one for one in self._schedulers() if getattr(one, "optimizer", None) is optimizer]

    def _look(self) -> dict[str, Any] | None:
        for optimizer in self._optimizers():
            self._compare(optimizer)
        for one in self._schedulers():
            if self._steps.get(id(one), _count(one)) != _count(one):
                self._moved.add(id(one))
        self._steps = {id(one): _count(one) for one in self._schedulers()}
        self._moved &= self._steps.keys()
        told = [_told(optimizer, its) for optimizer in self._optimizers() if (its := self._of(optimizer))]
        return {"schedule": told} if told else None

    def _compare(self, optimizer: Optimizer) -> None:
        rates = [rate for group in optimizer.param_groups if (rate := _plain(group.get("lr"))) is not None]
        before = self._rates.get(optimizer)
        self._rates[optimizer] = rates
        its = self._of(optimizer)
        moved = before is not None and before != rates and len(before) == len(rates)
        if not moved or self._searches >= MOST_SEARCHES or any(self._steps.get(id(one)) != _count(one) for one in its):
            return
        self._searches += 1
        new = [one for one in _schedulers_of(optimizer) if not any(one is known for known in its)]
        if new:
            # one that has never counted a step since it is known waits for its turn, as after a warm-up
            self._found(new, not any(id(one) in self._moved for one in its))


def _schedulers_of(optimizer: Optimizer) -> list[Any]:
    """The schedulers of torch that have made a step for this optimiser and are no part of another one."""
    holders = gc.get_referrers(optimizer)
    # an object holds it by itself, or by the dict of its attributes
    holders += gc.get_referrers(*[one for one in holders if type(one) is dict and one.get("optimizer") is optimizer])
    # by the class of the object, since isinstance may run code of the user's objects
    found = [one for one in holders if LRScheduler in type(one).__mro__ and vars(one).get("optimizer") is optimizer]
    found = list({id(one): one for one in found}.values())
    parts = {id(part) for one in found for part in vars(one).get("_schedulers", ())}
    return [one for one in found if id(one) not in parts and _count(one) > 0]


def _count(scheduler: Any) -> int:
    count = getattr(scheduler, "last_epoch", None)
    if isinstance(count, int):
        return count
    parts = getattr(scheduler, "_schedulers", None)  # a ChainedScheduler counts nothing itself
    return _count(parts[0]) if parts else -1


def _told(optimizer: Optimizer, schedulers: Sequence[Any]) -> dict[str, Any]:
    rates = [_plain(group.get("lr")) for group in optimizer.param_groups[:MOST_GROUPS]]
    told: dict[str, Any] = {
        "class": [type(one).__name__ for one in schedulers],
        "steps": [_count(one) for one in schedulers],
        "lr": rates,
    }
    try:
        told["closed_form"] = closed_form(schedulers)[:MOST_GROUPS]
    except NoForm as reason:
        told["skipped"] = str(reason)
    return told


def _plain(rate: Any) -> float | None:
    """A rate as a number; None where it is on a device."""
    if isinstance(rate, Tensor):
        return rate.item() if rate.device.type == "cpu" else None
    return float(rate) if isinstance(rate, (int, float)) else None
