"""Notices that a training goes on with another optimiser and another model than those that are watched."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

from torch import nn
from torch.optim import Optimizer

from tb_losslens.record.batch import Batch
from tb_losslens.record.collector import Collector
from tb_losslens.record.evaluations import writes
from tb_losslens.record.measures import parameters_of
from tb_losslens.record.row import Row

LOOK = 3
"""Dense batches that a loader delivers without a call of the watched model or a step, before others are looked for."""

AFTER, AFTER_WITHIN = 10, 256
"""Such batches after which another optimiser has taken over; more where no epoch has begun in between.

A critic that is trained many times for each step of a watched generator is so in the middle of an epoch."""

MOST = 4
"""Times in a run that others are looked for: all objects of the process are looked through, in 0.1 s."""

Took = Callable[[Optimizer, "nn.Module | None"], None]
"""Called with the optimiser that has taken over, and the model that it trains if that was found."""


class Replaced(Collector):
    """Is what is watched still what is trained?

    An optimiser of other parameters than the watched ones is none of ours: it may train a second network. Where the watched
    model is called no more with gradients and the watched optimisers step no more, while another one changes its parameters,
    that one has taken over: somebody built the model again, or loaded another one. What is recorded of the old ones would go
    on looking like numbers of the training.

    It costs nothing while there is something to record. No hook is set or removed, since a step may be on in another thread.

    Args:
        optimizers: gives the watched optimisers.
        models: gives the watched models.
        took: takes what was found.
    """

    name = "replaced objects"
    each_step = True
    asleep = True  # the dense ones of its deliveries are enough, since of plain steps nothing else is told one by one

    def __init__(
        self, optimizers: Callable[[], Sequence[Optimizer]], models: Callable[[], Sequence[nn.Module]], took: Took
    ) -> None:
        self._optimizers = optimizers
        self._models = models
        self._took = took
        self._thread = get_ident()
        self._delivered = self._looked = 0
        self._trained = self._epoch_began = False
        self._others: list[tuple[weakref.ref[Optimizer], tuple[int, ...]]] = []

    def delivered(self, batch: Batch, raw: Any) -> None:  # noqa: ARG002 - a collector's signature
        """Counts, until something is seen of what is watched."""
        if not batch.dense:
            return
        self._delivered += 1
        if self._delivered < LOOK or not self._trained or get_ident() != self._thread:
            return
        if not self._others:
            if self._looked < MOST:
                self._looked += 1
                self._others = [(weakref.ref(one), writes(parameters_of(one))) for one in self._at_hand()]
                self._delivered = LOOK if self._others else 0
        elif self._delivered >= (AFTER if self._epoch_began else AFTER_WITHIN):
            at_work = [one for one in map(_if_written, self._others) if one is not None]
            self._seen()
            self._trained = False
            if at_work:
                largest = max(at_work, key=lambda one: sum(p.numel() for p in parameters_of(one)))
                self._took(largest, model_of(largest, self._models()))

    def forward_begins(self, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        """The watched model is called."""
        self._seen()

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002 - a collector's signature
        """A watched optimiser has stepped."""
        self._trained = True
        self._seen()

    def passed(self, steps: int, *, inside: bool) -> None:  # noqa: ARG002
        """Plain steps are steps of the watched one."""
        if steps:
            self._trained = True
            self._seen()

    def epoch_begins(self, epoch: int) -> None:  # noqa: ARG002 - a collector's signature
        """Where something is replaced, it is between two epochs as a rule."""
        self._epoch_began = True

    def _seen(self) -> None:
        self._delivered, self._epoch_began, self._others = 0, False, []

    def _at_hand(self) -> list[Optimizer]:
        known = self._optimizers()
        # by the class of the object, since isinstance may run code of the user's objects
        found = [thing for thing in gc.get_objects() if Optimizer in type(thing).__mro__]
        return [one for one in found if not any(one is its for its in known)]


def _if_written(other: tuple[weakref.ref[Optimizer], tuple[int, ...]]) -> Optimizer | None:
    """The optimiser, if its parameters were written to since."""
    optimizer, before = other[0](), other[1]
    return optimizer if optimizer is not None and writes(parameters_of(optimizer)) != before else None


def model_of(optimizer: Optimizer, known: Sequence[nn.Module] = ()) -> nn.Module | None:
    """The smallest module that has all parameters of `optimizer`, the outermost of several; None if there is none.

    Args:
        optimizer: at work.
        known: modules that are not looked for.
    """
    wanted = {id(p) for p in parameters_of(optimizer)}
    sizes: dict[int, tuple[int, nn.Module]] = {}
    for thing in gc.get_objects():
        # by the class of the object, since isinstance may run code of the user's objects
        if nn.Module not in type(thing).__mro__ or any(thing is one for one in known):
            continue
        its = {id(p) for p in thing.parameters()}
        if wanted and wanted <= its:
            sizes[id(thing)] = (len(its), thing)
    least = min((size for size, _ in sizes.values()), default=0)
    found = [module for size, module in sizes.values() if size == least]
    inner = {id(part) for module in found for part in module.modules() if part is not module}
    return next((module for module in found if id(module) not in inner), None)
