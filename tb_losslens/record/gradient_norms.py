"""Norms of gradients, each of which is read once a row, whoever asks for it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from tb_losslens.record.measures import local, norms_of, total_norm, total_of

_MANY = 1 << 18
"""Elements on the CPU from which on it is quicker to see that nothing has changed than to read them all again."""

_SAMPLED = 256


class GradientNorms:
    """2-norms at the end of one backward: to read all gradients is most of what a dense row costs with a large model.

    What was read is only good until something may change the gradients: then `forget`, or `settle` where it may be asked
    for once more at the step.
    """

    def __init__(self) -> None:
        self._known: dict[int, Tensor] = {}
        self._marks: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._values: Tensor | None = None

    def each(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Norm of each of these, 0-d, on the device of its gradient; of a sharded one that of the part of this process."""
        new = [gradient for gradient in gradients if id(gradient) not in self._known]
        self._known.update(zip(map(id, new), norms_of([local(gradient) for gradient in new]), strict=True))
        return [self._known[id(gradient)] for gradient in gradients]

    def total(self, gradients: Sequence[Tensor]) -> Tensor | float | None:
        """As `total_norm`."""
        return total_of(self.each(gradients))

    def settle(self, gradients: Sequence[Tensor]) -> None:
        """The backward is over: notes how to tell whether these gradients, whose norms were read, are still the same."""
        self._marks, self._values = {}, None
        if _are_many(gradients):
            self._values = _sample(gradients)
            self._marks = {id(g): (weakref.ref(g), g._version) for g in gradients}

    def at_step(self, gradients: Sequence[Tensor]) -> Tensor | float | None:
        """As `total_norm`, now: not read again where nobody has written to these gradients since `settle`.

        Writing raises the version of a tensor. That which goes past it, by `.data`, shows in a sample of the elements; clipping
        by value shows in none of them only if it changes hardly any.
        """
        if self._values is not None and len(gradients) == len(self._marks):
            marks = [self._marks.get(id(gradient)) for gradient in gradients]
            same = all(m is not None and m[0]() is g and m[1] == g._version for m, g in zip(marks, gradients, strict=True))
            if same and torch.equal(self._values, _sample(gradients)):
                return self.total(gradients)
        return total_norm([local(gradient) for gradient in gradients])

    def forget(self) -> None:
        """Gradients may be others from now on."""
        self._known, self._marks, self._values = {}, {}, None


def _are_many(gradients: Sequence[Tensor]) -> bool:
    """True for many elements, all of them plain, on the CPU and in one type."""
    plain = all(
        type(g) is Tensor and g.is_cpu and g.layout is torch.strided and g.is_contiguous() and not g.is_inference()
        for g in gradients
    )
    return plain and len({g.dtype for g in gradients}) == 1 and sum(g.numel() for g in gradients) >= _MANY


def _sample(gradients: Sequence[Tensor]) -> Tensor:
    """A few hundred elements of each, evenly apart; shape (elements,)."""
    with torch.no_grad():  # an odd distance goes through all columns of most shapes
        return torch.cat([g.detach().view(-1)[:: g.numel() // _SAMPLED | 1] for g in gradients])
