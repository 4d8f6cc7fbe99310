"""Norms of gradients, each of which is read once at the end of a backward, whoever asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tb_losslens.record.measures import local, norms_of, total_of


class GradientNorms:
    """2-norms at the end of one backward: to read all gradients is most of what a dense row costs with a large model.

    What was read is only good until something may change the gradients: then `forget`.
    """

    def __init__(self) -> None:
        self._known: dict[int, Tensor] = {}

    def each(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Norm of each of these, 0-d, on the device of its gradient; of a sharded one that of the part of this process."""
        new = [gradient for gradient in gradients if id(gradient) not in self._known]
        self._known.update(zip(map(id, new), norms_of([local(gradient) for gradient in new]), strict=True))
        return [self._known[id(gradient)] for gradient in gradients]

    def total(self, gradients: Sequence[Tensor]) -> Tensor | float | None:
        """As `total_norm`."""
        return total_of(self.each(gradients))

    def forget(self) -> None:
        """Gradients may be others from now on."""
        self._known = {}
