"""The short way for the steps of a loop that does the same in each of them.

A step of an ordinary loop is a fixed sequence: a batch is pulled, the model is called, the criterion, the optimiser, perhaps a
scalar is written. Once two rows were made by the same sequence, and the next one is sparse, its events are only noted here,
and the row is stored when the sequence is complete. Whatever else happens hands back what was noted to the long way, which
is then in the state in which it would be had it seen everything itself.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.batch import Batch, describe
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.guard import Guard
from tb_losslens.record.loader import Pass
from tb_losslens.record.measures import training_share
from tb_losslens.record.row import Row

if TYPE_CHECKING:
    from tb_losslens.record.recorder import Recorder
    from tb_losslens.record.watch import Watch

PULL, FORWARD, CRITERION, STEP, STEPPED, SCALAR, OTHER = range(7)

_ORDERS = frozenset(
    {
        (PULL, FORWARD, CRITERION, STEP, STEPPED),
        (PULL, FORWARD, CRITERION, STEP, STEPPED, SCALAR),
        (PULL, FORWARD, CRITERION, SCALAR, STEP, STEPPED),
        (PULL, CRITERION, STEP, STEPPED),
        (PULL, CRITERION, STEP, STEPPED, SCALAR),
        (PULL, FORWARD, STEP, STEPPED, SCALAR),
        (PULL, STEP, STEPPED, SCALAR),
    }
)
"""Sequences that are taken: each ends a batch with one step of one optimiser, and has one loss."""


class Lane:
    """Takes the events of one step after the other, as long as they are the usual ones.

    Args:
        watch: the watched objects.
        guard: runs what is here.

    Attributes:
        on: events are taken here.
        recorder: where rows go; None before there is one, and after the end.
    """

    def __init__(self, watch: Watch, guard: Guard) -> None:
        self._watch = watch
        self._guard = guard
        self.on = False
        self.recorder: Recorder | None = None
        self._seen: list[tuple[int, Any]] = []
        self._before: tuple[int, ...] = ()
        self._pattern: tuple[int, ...] = ()
        self._place = 0
        self._events: list[tuple[Any, ...]] = []
        self._source: Pass | None = None
        self._raw: Any = None
        self._optimizer: Optimizer | None = None
        self._groups: tuple[tuple[str, dict[str, Any]], ...] = ()
        self._parameter: Tensor | None = None
        self._gradient: tuple[int, int] | None = None
        self._tag = ""
        self._values: dict[str, float] = {}
        self._done: dict[str, float] = {}
        self._user_step: int | None = None
        self._ids: NDArray[np.int64] | None = None
        self._wait = 0.0
        self._samples = -1
        self._stored: Row | None = None
        self._count = 0

    def take(self, event: Callable[..., bool], *what: Any) -> bool:
        """Gives `what` to a method of this; False if the long way has to take it."""
        if self._guard.brief("short way", event, what):
            return True
        self.on = False  # it has left, or failed
        return False

    def saw(self, kind: int, what: Any = None) -> None:
        """The long way had an event, which is one of those that make up a step."""
        if kind == PULL:
            self._before = tuple(event[0] for event in self._seen)
            self._seen = []
        if len(self._seen) < 16:
            self._seen.append((kind, what))

    # --- begin and end ----------------------------------------------------------------------------------------------

    def _begin(self, source: Pass) -> bool:
        """True if the next row may go the short way: the two before were made by one and the same usual sequence."""
        pattern = tuple(event[0] for event in self._seen)
        recorder = self.recorder
        if recorder is None or pattern != self._before or pattern not in _ORDERS:
            return False
        steps, row, watch = recorder.steps, recorder.steps.current, self._watch
        if row is None or not row.stored or row.batch is None or row.batch.source is not source or row.more:
            return False
        usual = steps.steady(source) and recorder.outbox.idle and recorder.validations.current is None
        if not usual or watch.collectors.waiting or len(watch.updates.optimizers) != 1:
            return False
        what = dict(self._seen)
        optimizer: Optimizer = what[STEP]
        if optimizer is not watch.updates.optimizers[0] or any(type(g.get("lr")) is not float for g in optimizer.param_groups):
            return False
        self._optimizer = optimizer
        # the last one, of the last layer, has a gradient whatever else is frozen
        self._parameter = next((p for p in reversed(optimizer.param_groups[-1]["params"]) if p.requires_grad), None)
        self._groups = tuple((f"lr.{i}" if i else "lr", group) for i, group in enumerate(optimizer.param_groups))
        self._tag = what.get(SCALAR, "")
        self._pattern, self._source, self._stored, self._count = pattern, source, row, 0
        self.on = True
        return True

    def leave(self) -> None:
        """Something unusual happens next: what was noted of the row that is on goes the long way."""
        if not self.on:
            return
        self.on = False
        recorder, events, raw, values = self.recorder, self._events, self._raw, self._values
        self._events, self._raw = [], None
        if recorder is None:
            return
        if self._count:
            self._materialise(recorder)
        self._watch.collectors.passed(self._count, inside=1 < self._place < len(self._pattern))
        self._seen, self._before = [], self._pattern
        if self._place == len(self._pattern):
            self._seen = [(kind, self._optimizer if kind == STEP else self._tag) for kind in self._pattern]
            return
        for kind, *what in events:
            self.saw(kind, self._optimizer if kind == STEP else self._tag)
            if kind == PULL:
                self._replay_pull(recorder, raw)
            elif kind == FORWARD:
                self._watch.forwards.replay(values["train_mode"], what[0])
            elif kind == CRITERION:
                recorder.steps.criterion(values["loss"], self._samples)
                if self._gradient != self._gradient_now():
                    recorder.steps.backward()
            elif kind == STEP:
                self._watch.updates.replay(what[0], {name: values[name] for name, _ in self._groups})
            elif kind == STEPPED:
                recorder.steps.step_ends()
            else:
                recorder.steps.scalar(self._tag, what[0], what[1])

    def _gradient_now(self) -> tuple[int, int] | None:
        """Changes with each backward: a hook on the loss, which would tell, costs more than all the rest of the short way."""
        gradient = self._parameter.grad if self._parameter is not None else None
        return None if gradient is None else (id(gradient), gradient._version)

    def _replay_pull(self, recorder: Recorder, raw: Any) -> None:
        source = self._source
        assert source is not None
        batch = describe(raw, targets=False)
        batch.ids, batch.wait, batch.index, batch.source, batch.dense = self._ids, self._wait, source.pulled - 1, source, SPARSE
        recorder.steps.pulled(source, batch)

    def _materialise(self, recorder: Recorder) -> None:
        """The newest stored row as the long way would have left it."""
        values = self._done
        batch = Batch(size=int(values["batch_size"]), wait=values["data_wait"], index=int(values["index"]), source=self._source)
        row = Row(values, batch=batch, epoch=int(values["epoch"]), index=int(values["index"]), dense=SPARSE)
        row.released = row.stored = True
        row.forwarded = FORWARD in self._pattern
        row.backward = CRITERION in self._pattern
        row.stepped = {id(self._optimizer)}
        if CRITERION in self._pattern:
            row.losses = [(values["loss"], self._samples)]
        if SCALAR in self._pattern:
            row.scalars[self._tag] = (values.get("logged_loss", values["loss"]), None)
            row.written[self._tag] = 1
            row.scalar_used = True
        row.user_step = self._user_step
        recorder.steps.current = row
        recorder.outbox.adopt(row)

    # --- events -----------------------------------------------------------------------------------------------------

    def pulled(self, source: Pass, ids: NDArray[np.int64] | None, wait: float, raw: Any, dense: int) -> bool:
        """A loop took a batch of training data; False if it goes the long way, as all that follows then does."""
        if self.on:
            if dense != SPARSE or source is not self._source or self._place != len(self._pattern):
                self.leave()
                return False
        elif dense != SPARSE or not self._begin(source):
            return False
        if self._watch.collectors.awake:
            self._watch.collectors.delivered(Batch(ids=ids, index=source.pulled - 1, source=source, dense=SPARSE), raw)
        self._events = [(PULL,)]
        self._ids, self._wait, self._raw = ids, wait, raw
        self._values = {}
        self._user_step = None
        self._place = 1
        return True

    def _is_next(self, kind: int) -> bool:
        place = self._place
        if place == len(self._pattern) or self._pattern[place] != kind:
            self.leave()
            return False
        if place == 1 and not self._count and self._stored is not None:
            assert self.recorder is not None
            self.recorder.steps.finish()  # the last row that went the long way
            self._stored = None
        self._place = place + 1
        return True

    def forward(self, args: Any, kwargs: Any) -> bool:
        """The watched model is called."""
        if kwargs or len(args) != 1 or type(args[0]) is not Tensor or not torch.is_grad_enabled() or not self._is_next(FORWARD):
            self.leave()
            return False
        self._values["train_mode"] = training_share(self._watch.forwards.modules)
        self._events.append((FORWARD, weakref.ref(args[0])))
        return True

    def criterion(self, given: tuple[Any, ...], output: Tensor) -> bool:
        """A watched criterion returned `output`."""
        if output.dim() or not output.requires_grad or output.device.type != "cpu":
            self.leave()
            return False
        value: float = output.item()
        assert self.recorder is not None
        if not self._is_next(CRITERION):
            return False
        if not self.recorder.steps.unusual.takes(value):
            self._place -= 1
            self.leave()  # an unusual loss is worth a closer look
            return False
        self._values["loss"] = value
        self._samples = len(given[0]) if given and isinstance(given[0], Tensor) and given[0].dim() else -1
        self._gradient = self._gradient_now()
        self._events.append((CRITERION,))
        return True

    def step(self, optimizer: Optimizer) -> bool:
        """An optimiser is about to change the weights."""
        if optimizer is not self._optimizer or len(optimizer.param_groups) != len(self._groups) or not self._is_next(STEP):
            self.leave()
            return False
        values = self._values
        for name, group in self._groups:
            rate = group["lr"]
            if type(rate) is not float:
                self._place -= 1
                self.leave()
                return False
            values[name] = rate
        self._events.append((STEP, optimizer))
        return True

    def stepped(self, optimizer: Optimizer) -> bool:
        """It has changed them."""
        if optimizer is not self._optimizer or not self._is_next(STEPPED):
            self.leave()
            return False
        self._events.append((STEPPED,))
        self._store_if_complete()
        return True

    def scalar(self, tag: str, value: float, step: int | None) -> bool:
        """The user wrote the scalar that is the loss."""
        if tag != self._tag or not self._is_next(SCALAR):
            self.leave()
            return False
        self._values["logged_loss" if CRITERION in self._pattern else "loss"] = value
        self._user_step = step
        self._events.append((SCALAR, value, step))
        self._store_if_complete()
        return True

    def _store_if_complete(self) -> None:
        if self._place != len(self._pattern):
            return
        recorder, source = self.recorder, self._source
        assert recorder is not None
        assert source is not None
        steps = recorder.steps
        epochs, values = steps.epochs, self._values
        size = len(self._ids) if self._ids is not None else describe(self._raw, targets=False).size
        values["batch_size"], values["data_wait"] = size, self._wait
        values["dense"], values["cadence"] = SPARSE, steps.every
        values["epoch"], values["index"] = epochs.number, epochs.rows
        epochs.rows += 1
        source.consumed += 1
        epochs.digest(self._ids)
        values["time"] = time.time()
        source_of_loss = "criterion" if CRITERION in self._pattern else f"scalar:{self._tag}"
        steps.store(values, self._ids, self._user_step, source_of_loss)
        recorder.stored(values)
        self._done = values
        self._raw = None
        self._events = []
        self._count += 1
