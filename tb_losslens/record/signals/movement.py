"""How far the weights move in the steps of a row, read off a sample of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from tb_losslens.record.row import Row
from tb_losslens.record.signals.layer_table import LayerTable
from tb_losslens.record.signals.sample import Sample


class Movement:
    """The trained parameters, their sample, and its values before the first step of a row and after its last.

    Several collectors share one: whoever calls first reads the weights, the others get the same.

    Args:
        models: gives the watched models.
        optimizers: gives the watched optimisers.
        facts: called with `{"layers": table}` when the table of layers has changed.

    Attributes:
        table: names of the layers.
        sample: which elements are read.
        row: the row that `before` and `change` are of.
        before: sampled weights before the first step of the row, shape (sampled,).
        change: sampled weights after the last step so far, less `before`; None before a step has ended.
        steps: optimiser steps in the row that have ended.
        due: the modules are to be walked through at the next look, as once an epoch.
        one_to_one: layer i is parameter i, for all of them.
    """

    def __init__(
        self,
        models: Callable[[], Sequence[nn.Module]],
        optimizers: Callable[[], Sequence[Optimizer]],
        facts: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._models = models
        self._optimizers = optimizers
        self._facts = facts
        self._inside = self._looking = self.due = False
        self.table = LayerTable()
        self.sample = Sample([])
        self.row: Row | None = None
        self.before: Tensor | None = None
        self.change: Tensor | None = None
        self.steps = 0
        self.one_to_one = True
        self._layers = torch.empty(0, dtype=torch.long)

    def refresh(self) -> None:
        """Looks whether there are other parameters: where it is not `due`, only at what costs next to nothing."""
        models, optimizers = self._models(), self._optimizers()
        if self.due or self._looking or self.table.stale(models, optimizers):
            before, self._looking = self._looking, True  # an interrupt may end this anywhere: the next call begins again
            changed = self.table.refresh(models, optimizers)
            if changed or before:
                self._look()
                self._facts({"layers": self.table.facts()})
            self.due = self._looking = False

    def begins(self, row: Row) -> None:
        """A step begins: keeps the weights, if it is the first of the row."""
        if self.row is row and (self._inside or self.change is not None):
            self._inside = True
            return
        self.refresh()
        if not self.sample.fits():
            self._look()
        self._inside = True
        self.row, self.steps, self.change = row, 0, None
        self.before = self.sample.values()

    def ends(self, row: Row) -> Tensor | None:
        """A step has ended: the movement since the first of the row began; None if that was not seen."""
        if not self._inside or self.row is not row:
            return self.change if self.row is row else None
        self._inside = False
        assert self.before is not None
        after = self.sample.values()
        if after.shape != self.before.shape:  # a parameter became another one inside the step
            return None
        self.change = after - self.before
        self.steps += 1
        return self.change

    def gradients(self) -> Tensor | None:
        """The gradients at the sampled elements, shape (sampled,); None where there are none, or sparse ones.

        A parameter without a gradient has no part in the loss: it counts as zero.
        """
        gradients = [p.grad for p in self.table.parameters]
        if not any(g is not None for g in gradients):
            return None
        if any(g is not None and g.layout is not torch.strided for g in gradients):
            return None
        return self.sample.of(gradients)

    def by_layer(self, sums: NDArray[Any] | Tensor) -> NDArray[Any] | Tensor:
        """Sums of each layer from those of each parameter; shape (any, layers)."""
        if self.one_to_one:
            return sums
        count = len(self.table.names)
        if isinstance(sums, Tensor):
            return sums.new_zeros(len(sums), count).index_add_(1, self._layers, sums)
        return np.stack([np.bincount(self.table.layers, row, count) for row in sums])

    def _look(self) -> None:
        table = self.table
        self.sample = Sample(table.parameters)
        self.one_to_one = table.layers == list(range(len(table.names)))
        self._layers = torch.tensor(table.layers, dtype=torch.long).to(self.sample.device)
