"""The short way for the steps of a loop that does the same in each of them.

A step of an ordinary loop is a fixed sequence: a batch is pulled, the model is called, the criterion, the optimiser, perhaps a
scalar is written. Once two rows were made by the same sequence, and the next one is sparse, its events are only noted here,
and the row is stored when the sequence is complete. Whatever else happens hands back what was noted to the long way, which
is then in the state in which it would be had it seen everything itself.

What a step costs here is mostly what its hooks have to load into the caches: each is one function that calls few others.
"""

from __future__ import annotations

import weakref
from threading import get_ident
from time import perf_counter
from typing import Any

from torch import Tensor, is_grad_enabled, nn
from torch.optim import Optimizer

from tb_losslens.record.backward_use import inside_backward
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.lane_start import (
    CRITERION,
    END,
    FORWARD,
    INDEX,
    LOSS,
    NUMBER,
    RATE,
    SCALAR,
    STEP,
    STEPPED,
    TIME,
)
from tb_losslens.record.lane_state import LaneState
from tb_losslens.record.measures import training_share
from tb_losslens.record.passes import Pass
from tb_losslens.record.sampler_tap import Trail

EACH = 16
"""Of so many steps one is timed where nothing takes long: to read the clock twice costs as much as what is timed."""


class Lane(LaneState):
    """Takes the events of one step after the other, as long as they are the usual ones.

    A method that takes an event gives True, or False if the long way has to take it: then this has left, unless the event is
    none of ours. The hooks of torch call `forward`, `called`, `step` and `stepped` themselves (hook.py).
    """

    __slots__ = ()

    def pulled(self, source: Pass, trail: Trail | None, wait: float, raw: Any, now: float) -> bool:
        """A loop took a batch of training data; `now` is the time."""
        guard = self._guard
        if guard.depth or get_ident() != self._thread:
            return self._left()
        guard.began, guard.depth = now, 1
        ids = None
        try:
            if not self.on:  # a signal handler came before the depth was set
                return False
            if source is not self._source or self._events[self._place] != END:
                return self._left()
            if self._ahead:
                self._ahead -= 1
                self._skipped += 1
            elif self._is_dense(source):
                return self._left()
            if trail is not None:
                ids = trail.take()
            self._take(ids, wait, raw)
        except Exception as error:  # noqa: BLE001 - as above
            if trail is not None and ids is not None:
                trail.put_back(ids)
            return self._failed(error)
        finally:
            guard.depth = 0
            guard.spent += perf_counter() - now
            if guard.waiting:
                guard.catch_up()
        source.pulled += 1
        self._timed = source.pulled % EACH == 0
        if self._awake:
            self.tell_delivery(source, ids, raw)
        return True

    def _is_dense(self, source: Pass) -> bool:
        if self.recorder is None:
            return True  # the long way knows that nothing is recorded any more
        steps = self.recorder.steps
        if self._skipped:
            steps.cadence.skip(self._skipped, source.pulled - 1)
            self._skipped = 0
        dense = steps.density(source, source.pulled)
        self._ahead = steps.cadence.ahead
        if dense == SPARSE:
            return False
        self._decided = dense
        return True

    def forward(self, module: nn.Module, args: Any, kwargs: Any) -> bool:
        """A watched model is called, or a copy of one."""
        if module is not self.model:
            return False
        start = perf_counter() if self._timed else 0.0
        try:
            place = self._place
            if self._events[place] != FORWARD or kwargs or len(args) != 1 or type(args[0]) is not Tensor:
                return inside_backward() or self._left()  # in a backward, a checkpoint calls it again
            if self._guard.depth or get_ident() != self._thread or not is_grad_enabled():
                return self._left()
            if self._late is not None:
                self._follow()
            mode = 1.0
            for part in self._modules:
                if not part.training:
                    mode = training_share(self._modules)
                    break
            self._values[self._mode_at] = mode
            self._inputs = weakref.ref(args[0])
        except Exception as error:  # noqa: BLE001 - the training must go on, whatever went wrong in here
            return self._failed(error)
        if start:
            self._guard.spent += EACH * (perf_counter() - start)
        return self._goes_on(place)

    def called(self, module: nn.Module, given: Any, kwargs: Any, output: Any) -> bool:  # noqa: ARG002 - torch's signature
        """A watched criterion returned `output`, or a copy of one."""
        if module is not self.criterion:
            return False
        start = perf_counter() if self._timed else 0.0
        try:
            place = self._place
            if self._events[place] != CRITERION or kwargs or type(output) is not Tensor:
                return inside_backward() or self._left()
            if self._guard.depth or get_ident() != self._thread:
                return self._left()
            if self._late is not None:
                self._follow()
            if output.dim() or not output.requires_grad or not output.is_cpu:
                return self._left()
            value: float = output.item()
            if not self._unusual.takes(value):
                return self._left()  # an unusual loss is worth a closer look
            self._values[LOSS] = value
            gradient = self._parameter.grad if self._parameter is not None else None
            if gradient is None:
                self._gradient = self._version = 0
            else:
                self._gradient, self._version = id(gradient), gradient._version
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(error)
        if start:
            self._guard.spent += EACH * (perf_counter() - start)
        return self._goes_on(place)

    def step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> bool:  # noqa: ARG002 - torch's signature
        """An optimiser is about to change the weights: only that it comes now is noted here, the rest when it has."""
        if optimizer is not self.optimizer:
            return False
        place = self._place
        if self._events[place] != STEP or get_ident() != self._thread:
            return self._left()
        if self._late is not None:
            self._follow()
        return self._goes_on(place)

    def _goes_on(self, place: int) -> bool:
        """The event at `place` is noted; False if a signal handler has left in the middle of it."""
        on = self.on
        if on:
            self._place = place + 1  # no handler can come between this and the return
        return on

    def stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> bool:  # noqa: ARG002 - torch's signature
        """It has changed them."""
        if optimizer is not self.optimizer:
            return False
        guard, start = self._guard, perf_counter()
        if guard.depth or get_ident() != self._thread:
            return self._left()
        guard.began, guard.depth = start, 1
        try:
            if not self.on:  # as above
                return False
            place, groups = self._place, optimizer.param_groups
            if self._events[place] != STEPPED or len(groups) != self._groups:
                return self._left()
            values, at = self._values, RATE
            for group in groups:
                rate = group["lr"]
                if type(rate) is not float:
                    return self._left()
                values[at] = rate
                at += 1
            if self._events[place + 1] == END:
                self._store(start)
            else:
                self._place = place + 1
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(error)
        finally:
            guard.depth = 0
            guard.spent += perf_counter() - start
            if guard.waiting:
                guard.catch_up()
        return True

    def scalar(self, tag: str, value: float, step: int | None) -> bool:
        """The user wrote a scalar that is, or may be, the loss."""
        try:
            place = self._place
            if tag != self._tag or self._events[place] != SCALAR or value - value != 0 or get_ident() != self._thread:
                return self._left()
            if self._late is not None:
                self._follow()
            self._values[self._scalar_at], self._given = value, step
            if self._events[place + 1] == END:
                self._store(perf_counter())
            else:
                self._place = place + 1
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(error)
        return True

    def _store(self, now: float) -> None:
        rows, values, given = self._rows, self._values, self._given
        number = rows.number + 1
        if given is not None and given > number:
            number = given
        values[NUMBER], values[TIME] = number, rows.clock + now
        series = rows.series
        if series is not None:
            values[INDEX] = rows.base + series.count
            if series.put(values, self._ids, now):
                self._place += 1  # first, for an interrupt that comes now
                rows.number, rows.given = number, given
                rows.count += 1
                self._raw = None
                return
        rows.store(values, self._ids, given)
        self._place += 1
        rows.count += 1
        self._raw = None
