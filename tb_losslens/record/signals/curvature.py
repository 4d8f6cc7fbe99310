"""Tells how strongly the loss is curved along the last update: whether the learning rate is more than it allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.collector import Collector
from tb_losslens.record.measures import unscaled
from tb_losslens.record.row import Row
from tb_losslens.record.signals.movement import Movement
from tb_losslens.record.signals.sample import Sample


@dataclass(eq=False)
class _Update:
    """One update: the gradient before it, the movement, which optimisers made it, and what it was sampled with."""

    gradient: Tensor
    sample: Sample
    optimizers: set[int] = field(default_factory=set)
    change: Tensor | None = None


class Curvature(Collector):
    """Finite differences of the gradient along an update dw from w(t-1) to w(t), told at the step after it.

    - `curvature` = (g(t) - g(t-1)) . dw / |dw|^2: on one and the same loss, the Rayleigh quotient of its Hessian along dw,
      averaged over the way. Plain gradient descent with a rate above 2 / curvature climbs instead of descending.
    - `grad_dot_update` = g(t) . dw and `prev_grad_dot_update` = g(t-1) . dw: the slope along dw after and before it.

    Gradients are those at the end of the last backward before a step, unclipped and unscaled. Sums are estimated from up to
    256 elements of each parameter, and exact where all have at most as many.

    The two gradients are of different batches. Plain SGD makes its dw of the noise in g(t-1), too, which therefore adds to
    `curvature`, on average, its share of |g(t-1)|^2 divided by the rate: at most 1 / rate. So a `curvature` above 2 / rate,
    again and again, is more than noise; one below says nothing where noise is most of the gradient.

    An update begins at a dense row; the step after it is read whatever row it is in. Nothing is told where the next
    step is not another update of the same weights: with optimisers that take turns, with several steps in a row of the
    recording, with one that evaluates the loss several times for a step (LBFGS, SAM), and with sparse gradients.

    Args:
        movement: reads the weights around a step.
        scale: gives the AMP scale, or None.
    """

    name = "curvature"
    each_step = True
    deep = True

    def __init__(self, movement: Movement, scale: Callable[[], Any] = lambda: None) -> None:
        self._movement = movement
        self._scale = scale
        self._gradient: Tensor | None = None
        self._sample: Sample | None = None
        self._open: _Update | None = None
        self._before: _Update | None = None
        self._inside = False

    @property
    def pending(self) -> bool:  # type: ignore[override]
        """True after a deep row: the gradient after its update is that of the next row."""
        return self._before is not None

    def epoch_begins(self, epoch: int) -> None:  # noqa: ARG002 - the collector's signature
        """What happens between two epochs may change the weights: an update does not reach over it."""
        self._before = None

    def backward_ends(self, row: Row) -> None:
        """The gradient at the sampled elements: complete only when a step follows."""
        if not row.deep and self._before is None:
            return
        if self._inside or row.aside:  # the optimiser calls the loop, or moves the weights aside: it steps from elsewhere
            self._open = self._before = self._gradient = None
            return
        self._movement.refresh()
        gradient = self._movement.gradients()
        if gradient is not None:
            scaled = unscaled(gradient, self._scale())
            assert isinstance(scaled, Tensor)
            gradient = scaled
        self._gradient, self._sample = gradient, self._movement.sample

    def step_begins(self, row: Row, optimizer: Optimizer) -> None:
        """Compares the gradient with that before the last update, and begins another one."""
        self._inside = True
        gradient, self._gradient = self._gradient, None
        before, self._before = self._before, None
        if gradient is None:
            update = self._open
            if update is not None and before is update and self._movement.row is row:
                update.optimizers.add(id(optimizer))  # a second optimiser, after the same backward
                self._movement.begins(row)
            else:
                self._open = None
            return
        self._open = None
        if before is not None and before.sample is self._sample and id(optimizer) in before.optimizers:
            self._compare(row, before, gradient)
        movement = self._movement
        if row.deep and self._sample is not None and (movement.row is not row or movement.change is None):
            movement.begins(row)
            if movement.sample is self._sample:
                self._open = _Update(gradient, self._sample, {id(optimizer)})

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002 - the collector's signature
        """The update is made."""
        self._inside = False
        update = self._open
        if update is not None:
            update.change = self._movement.ends(row)
            self._before = update if update.change is not None else None

    def _compare(self, row: Row, update: _Update, gradient: Tensor) -> None:
        change = update.change
        if change is None or not change.numel():
            return
        sample = update.sample
        weighed = sample.weighed(change)
        after, before, size = (sample.dot(values, weighed) for values in (gradient, update.gradient, change))
        known = size.masked_fill(size == 0, math.nan) if isinstance(size, Tensor) else size or math.nan
        self.tell(row, {"curvature": (after - before) / known, "grad_dot_update": after, "prev_grad_dot_update": before})
