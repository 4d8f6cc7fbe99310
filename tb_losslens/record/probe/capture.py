"""Takes a batch for the probe from the training itself: what the model was given, and what its output was compared with."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tb_losslens.record.batch import tensors_of
from tb_losslens.record.probe.batch import MOST_SAMPLES, ProbeBatch, Unfit, copied, leading


@dataclass(frozen=True)
class Compared:
    """Which tensor of the model's output the criterion gets, and as which type."""

    position: int
    dtype: torch.dtype

    def of(self, output: Any) -> Tensor:
        """That tensor of another output."""
        return list(tensors_of(output))[self.position].to(self.dtype)


class Capture:
    """One batch in the making: the model's call, its output, then the criterion's call.

    Args:
        compares: also finds out what of the output the criterion gets; else that is the user's to say.

    Attributes:
        batch: it, once it is whole.
        compared: what the criterion gets of the output, once that is known.
    """

    def __init__(self, *, compares: bool) -> None:
        self._compares = compares
        self.batch: ProbeBatch | None = None
        self.compared: Compared | None = None
        self._inputs: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._delivered: tuple[Any, int] | None = None
        self._outputs: list[weakref.ref[Tensor]] = []
        self._returned = False
        self._size = -1

    def delivered(self, target: Any) -> None:
        """A loader delivered this target, for a loss whose calls nobody can see."""
        if self._delivered is None and target is not None:
            size = leading(target)
            self._delivered = copied(target, MOST_SAMPLES if size > MOST_SAMPLES else None), size

    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The model is called. Only a copy is kept."""
        if self.batch is None:
            self._size = leading((args, kwargs))
            self._inputs = copied((args, kwargs), self._first, where_it_was=True)

    def output(self, output: Any) -> None:
        """It returned."""
        self._returned = True
        self._outputs = [weakref.ref(tensor) for tensor in tensors_of(output)]
        if self._delivered is not None and self._inputs is not None:
            target, size = self._delivered
            self._check(size)
            self._whole((target,))

    def criterion(self, given: tuple[Any, ...]) -> None:
        """The criterion was called.

        Raises:
            Unfit: not with an output of the model as it is, or with a batch that cannot be cut.
        """
        # no call was seen yet where what is called is a compiled twin of the watched model: the first step finds that out
        if self._compares and self.compared is None and self._returned:
            self.compared = self._compared(given[0] if given else None)
        if self._inputs is not None:
            self._check(leading(given[1:]))
            self._whole(copied(given[1:], self._first, where_it_was=True))

    def _check(self, size: int) -> None:
        if self._first is not None and size != self._size:
            raise Unfit(
                f"the batch has {self._size} samples and its targets another length, so that it cannot be cut: "
                "give smaller ones, set_probe(train_batch=(inputs, targets), loss_fn=...)"
            )

    def _whole(self, rest: tuple[Any, ...]) -> None:
        assert self._inputs is not None
        args, kwargs = self._inputs
        self.batch, self._inputs = ProbeBatch(args, kwargs, rest, min(self._size, MOST_SAMPLES)), None

    @property
    def _first(self) -> int | None:
        return MOST_SAMPLES if self._size > MOST_SAMPLES else None

    def _compared(self, given: Any) -> Compared:
        outputs = [reference() for reference in self._outputs]
        if isinstance(given, Tensor):
            for position, output in enumerate(outputs):
                if output is not None and _is_same(output, given):
                    return Compared(position, given.dtype)
        raise Unfit(
            "the training does something to the model's output before the criterion: say what, "
            "set_probe(loss_fn=lambda output, target: ...)"
        )


def _is_same(output: Tensor, given: Tensor) -> bool:
    """True if the criterion got this output, maybe in another type."""
    if output is given:
        return True
    if output.layout != torch.strided or given.layout != torch.strided:
        return False
    if output.shape != given.shape or output.is_complex() != given.is_complex() or output.device != given.device:
        return False
    with torch.no_grad():
        difference = output.detach().to(given.dtype) != given.detach()
        return not bool((difference & ~given.detach().isnan()).any())
