"""Counts the backwards of each optimiser step, and sees gradients that were left over: from the step before, or by an epoch."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.collector import Collector
from tb_losslens.record.gradient_marks import Marks, are_same, marks_of
from tb_losslens.record.late_fields import LateFields
from tb_losslens.record.measures import gradients_of, parameters_of, total_norm, unscaled
from tb_losslens.record.row import Row

MOST_MARKS = 64
"""Parameters of an optimiser whose gradients are looked at to tell whether they were touched."""

FEW = 1 << 15
"""Elements of gradients that are looked at in every step where they may all be zero."""


class _Cleared:
    """Whether the gradients of one optimiser were cleared since its last step.

    Attributes:
        looked: a backward has begun since then.
        left: 1 if gradients were there at each of them, 0 if not, None if that was too dear to know.
        untouched: at each of them they were those that the step, or the backward before, had left, and nothing had been
            added to them: an auxiliary loss whose backward comes first leaves gradients too. None if that is not known.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.begin(optimizer)

    def begin(self, optimizer: Optimizer) -> None:
        """A step has ended."""
        self.looked = False
        self.left: Tensor | float | None = 1.0
        self.untouched: bool | None = True
        self.mark(optimizer)

    def mark(self, optimizer: Optimizer) -> None:
        """Remembers what the gradients are now."""
        self._marks = _marks_of(optimizer)

    def look(self, optimizer: Optimizer, *, whole: bool) -> None:
        """A backward begins."""
        self.looked = True
        self.left = _both(self.left, _any_gradient(optimizer, whole=whole))
        self.untouched = self.untouched and are_same(self._marks, _marks_of(optimizer))

    @property
    def undecided(self) -> bool:
        """False once gradients are known to have been cleared."""
        return isinstance(self.left, Tensor) or self.left != 0


class MicroBatches(Collector):
    """`micro_batches`, `grads_before_backward` and `grads_untouched` of each step, and what an epoch leaves unstepped.

    `micro_batches`: backwards since any optimiser's last step. `grads_before_backward`: 1 if gradients of this optimiser's
    parameters were not zero at the begin of *every* backward since its last step: nobody cleared them, and what was already
    used is used again. Accumulation clears them before its first backward, hence has 0; so has a second network whose
    gradients wait for their clearing while the first one trains. A backward that is not seen may have left them, too:
    `grads_untouched` is 1 if they were the very tensors that were there before, and nobody had written to them. An
    optimiser's first step has no value; nor has one of a sparse row whose gradients were all set to zeros, which only a look
    at each element would show.

    Args:
        optimizers: gives the watched optimisers.
        scaler: gives the `GradScaler`, or None.
    """

    name = "micro-batches"
    each_step = exact_ends = True

    def __init__(self, optimizers: Callable[[], Sequence[Optimizer]], scaler: Callable[[], Any] = lambda: None) -> None:
        self._optimizers = optimizers
        self._scaler = scaler
        self._backwards = 0
        self._shown = False  # a backward since the last step has left gradients
        self._missed = False
        self._known: weakref.WeakKeyDictionary[Optimizer, _Cleared] = weakref.WeakKeyDictionary()
        self._late = LateFields("late_gradients")

    def passed(self, steps: int, *, inside: bool) -> None:
        """A step whose first part went by has no values; what the gradients were after the one before is not known."""
        self._missed = inside
        if steps:
            for state in self._known.values():
                state.untouched = None

    def backward_begins(self, row: Row) -> None:
        """Looks whether there are gradients, until somebody has cleared them."""
        optimizers = self._optimizers()
        if self._backwards and self._shown and all(_any_gradient(one, whole=bool(row.dense)) == _NONE for one in optimizers):
            # what they gave was cleared without a step, as where the scaler left one out; gradients that were never
            # shown are kept elsewhere until they are sent to the other processes (`set_requires_gradient_sync`)
            self._backwards = 0
        self._backwards += 1
        for optimizer in optimizers:
            state = self._known.get(optimizer)
            if state is not None and state.undecided:
                state.look(optimizer, whole=bool(row.dense))

    def backward_ends(self, row: Row) -> None:  # noqa: ARG002 - a collector's signature
        """Looks whether it has left any gradient."""
        optimizers = self._optimizers()
        self._shown = self._shown or any(p.grad is not None for one in optimizers for p in parameters_of(one))
        for optimizer in optimizers:
            state = self._known.get(optimizer)
            if state is not None and state.undecided and state.untouched:
                state.mark(optimizer)

    def step_begins(self, row: Row, optimizer: Optimizer) -> None:
        """Tells both numbers: the count with the first optimiser that steps after a backward."""
        values: dict[str, Tensor | float] = {}
        if self._backwards:
            values["micro_batches"] = self._backwards
            self._backwards = 0
        state = self._known.get(optimizer)
        if state is not None and state.looked and state.left is not None:
            left = state.left
            if not isinstance(left, Tensor):
                left = max(left, row.values.get("grads_before_backward", 0.0))
            values["grads_before_backward"] = left
            if state.undecided and state.untouched is not None:
                values["grads_untouched"] = max(float(state.untouched), row.values.get("grads_untouched", 0.0))
        if values and not self._missed:
            self.tell(row, values)

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002 - a collector's signature
        """From here on gradients should be cleared; the backwards of a closure are part of its step."""
        self._backwards, self._shown, self._missed = 0, False, False
        state = self._known.get(optimizer)
        if state is None:
            self._known[optimizer] = _Cleared(optimizer)
        else:
            state.begin(optimizer)

    def epoch_ends(self, epoch: int) -> dict[str, Any] | None:
        """`backwards_left`: backwards of the epoch that no step has followed; `gradients_left`: the norm of the gradients then.

        Nothing where every backward was followed by a step. On a device the norm comes with a later record, in
        `late_gradients`; under a scaler one that is not finite belongs to a step that the scaler left out.
        """
        if not self._backwards or self._missed:
            return None
        fields: dict[str, Any] = {"backwards_left": self._backwards}
        norm = total_norm(gradients_of(p for optimizer in self._optimizers() for p in parameters_of(optimizer)))
        if norm is None:
            return fields
        scaler = self._scaler()
        if scaler is not None and not isinstance(norm, Tensor) and not math.isfinite(norm):
            return None  # the scaler left this step out
        norm = unscaled(norm, getattr(scaler, "_scale", None))
        return fields | self._late.take({"at": "epoch_end", "epoch": epoch}, {"gradients_left": norm})


def _marks_of(optimizer: Optimizer) -> Marks:
    return marks_of(parameters_of(optimizer), most=MOST_MARKS)


class _Nothing:
    """No gradient at all, without having asked a device; equal to itself only."""


_NONE = _Nothing()


def _both(before: Tensor | float | None, now: Tensor | float | _Nothing | None) -> Tensor | float | None:
    """Left at this backward and at those before it."""
    if isinstance(now, _Nothing):
        return 0.0
    if before is None or now is None:
        return None
    with torch.no_grad():
        return before * now


def _any_gradient(optimizer: Optimizer, *, whole: bool) -> Tensor | float | _Nothing | None:
    """1.0 if a parameter has a gradient that is not zero; nothing if there is none; None if that was too dear to know.

    Args:
        optimizer: of the parameters.
        whole: looks at every element where the first ones are zero, and asks a device (for a 0-d tensor, 1 or 0).
    """
    # in most loops there are none, and that must cost next to nothing
    if not any(p.grad is not None and p.requires_grad for p in parameters_of(optimizer)):
        return _NONE
    gradients = gradients_of(p for p in parameters_of(optimizer) if p.requires_grad)
    with torch.no_grad():
        if all(gradient.device.type == "cpu" for gradient in gradients):
            # the small ones first: where nobody cleared them, the first one decides
            seen = 0
            for gradient in sorted((_values(gradient) for gradient in gradients), key=Tensor.numel):
                seen += gradient.numel()
                if seen > FEW and not whole:
                    return None
                if bool(gradient.any()):
                    return 1.0
            return _NONE
        if not whole:
            return None
        norm = total_norm(gradients)
        return (norm != 0).to(torch.float32) if isinstance(norm, Tensor) else float(norm != 0)


def _values(gradient: Tensor) -> Tensor:
    return gradient._values() if gradient.is_sparse else gradient

