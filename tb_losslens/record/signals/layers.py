"""Tells the gradient norm of each layer, and how far a step moves it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.collector import Collector
from tb_losslens.record.gradient_norms import GradientNorms
from tb_losslens.record.late_list import LateList, as_row_list
from tb_losslens.record.measures import local, norms_of, unscaled
from tb_losslens.record.row import Row
from tb_losslens.record.signals.movement import Movement


class Layers(Collector):
    """Layer by layer: is one of them not learning, or about to blow up?

    Lists of a row, one number a layer in the order of the fact `layers`, NaN where there is none:

    - `layer_grad_norm`: 2-norm of the gradient at the end of the last backward, before clipping. Exact; NaN without a gradient.
    - `layer_update_ratio`: |dw| / |w| over the steps of the row, of up to 256 elements of each parameter; NaN for weights
      that are all zero.

    Columns: `update_ratio` and `weight_norm`, of all parameters together, estimated from the same elements.

    Args:
        movement: reads the weights around a step.
        scale: gives the AMP scale, or None.
        norms: reads the gradients for others, too; who gives it clears it after each backward.
    """

    deep = True
    name = "layers"

    def __init__(
        self, movement: Movement, scale: Callable[[], Any] = lambda: None, norms: GradientNorms | None = None
    ) -> None:
        self._movement = movement
        self._scale = scale
        self._norms = norms

    def epoch_begins(self, epoch: int) -> None:  # noqa: ARG002 - the collector's signature
        """Layers that are new are looked for: after the first epoch when a row reads them, since nobody asks before."""
        self._movement.due = True
        if not self._movement.table.parameters:
            self._movement.refresh()

    def backward_ends(self, row: Row) -> None:
        """The norm of each layer's gradient."""
        movement = self._movement
        movement.refresh()
        gradients = [p.grad for p in movement.table.parameters]
        found = [i for i, gradient in enumerate(gradients) if gradient is not None]
        if not found:
            return
        there = [gradient for gradient in gradients if gradient is not None]
        each = norms_of([local(g) for g in there]) if self._norms is None else self._norms.each(there)
        norms = unscaled(_stacked(each), self._scale())
        assert isinstance(norms, Tensor)
        read = as_row_list(norms)
        if not movement.one_to_one or len(found) < len(gradients):
            # put together on the host: which parameters have a gradient may be another set in each step
            layers, count = np.array(movement.table.layers)[found], len(movement.table.names)
            read = (
                read.then(lambda known: _by_layer(known, layers, count))
                if isinstance(read, LateList)
                else _by_layer(read, layers, count)
            )
        row.lists["layer_grad_norm"] = read

    def step_begins(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002 - the collector's signature
        """The weights before the step; unknown where they were moved aside for another evaluation of the loss."""
        if not row.aside:
            self._movement.begins(row)

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002 - the collector's signature
        """How far it moved them."""
        movement = self._movement
        change = movement.ends(row)
        if change is None or movement.before is None or not change.numel():
            return
        sums = movement.by_layer(movement.sample.squares(change, movement.before))
        if isinstance(sums, Tensor):
            ratios, update, weight = _sizes_on_device(sums)
            row.lists["layer_update_ratio"] = as_row_list(ratios)
            self.tell(row, {"update_ratio": update, "weight_norm": weight})
            return
        moved, size = sums.sum(1).tolist()
        row.lists["layer_update_ratio"] = _roots(sums)
        self.tell(row, {"update_ratio": math.sqrt(moved / size) if size else math.nan, "weight_norm": math.sqrt(size)})


def _stacked(norms: list[Tensor]) -> Tensor:
    """Norms as one tensor, shape (norms,), float32 or wider."""
    with torch.no_grad():
        types = {norm.dtype for norm in norms}
        return torch.stack(norms if len(types) == 1 else [norm.to(max(types, key=lambda t: t.itemsize)) for norm in norms])


def _by_layer(norms: NDArray[Any], layers: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Norm of each layer, shape (count,), from those of its gradients, shape (gradients,); NaN for a layer without any."""
    squares = np.bincount(layers, norms.astype(np.float64) ** 2, count)
    squares[np.bincount(layers, minlength=count) == 0] = math.nan
    return np.sqrt(squares).astype(np.float32)


def _roots(sums: NDArray[Any]) -> NDArray[np.float32]:
    """Roots of the ratios of two rows, NaN where the second is 0; shape (2, layers) to (layers,)."""
    with np.errstate(all="ignore"):
        ratios: NDArray[np.float32] = np.sqrt(sums[0] / np.where(sums[1] == 0, math.nan, sums[1])).astype(np.float32)
        return ratios


def _sizes_on_device(sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same, and of all layers together the ratio and the second root, 0-d; nothing waits for it."""
    with torch.no_grad():
        moved, size = torch.cat((sums, sums.sum(1, keepdim=True)), 1).sqrt_()
        ratios = moved / size.masked_fill(size == 0, math.nan)
        return ratios[:-1], ratios[-1], size[-1]
