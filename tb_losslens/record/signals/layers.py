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
from tb_losslens.record.late_list import as_row_list
from tb_losslens.record.measures import local, unscaled
from tb_losslens.record.row import Row
from tb_losslens.record.signals.movement import Movement
from tb_losslens.record.signals.sample import Sample


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
    """

    deep = True
    name = "layers"

    def __init__(self, movement: Movement, scale: Callable[[], Any] = lambda: None) -> None:
        self._movement = movement
        self._scale = scale
        self._blank: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        self._sample: Sample | None = None

    def epoch_begins(self, epoch: int) -> None:  # noqa: ARG002 - the collector's signature
        """Looks for layers that are new."""
        self._movement.refresh(thorough=True)

    def backward_ends(self, row: Row) -> None:
        """The norm of each layer's gradient."""
        self._movement.refresh()
        norms = self._norms()
        if norms is not None:
            scaled = unscaled(norms, self._scale())
            assert isinstance(scaled, Tensor)
            row.lists["layer_grad_norm"] = as_row_list(scaled)

    def step_begins(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002 - the collector's signature
        """The weights before the step."""
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

    def _norms(self) -> Tensor | None:
        """2-norm of the gradient of each layer, shape (layers,); None where there is no gradient at all."""
        movement = self._movement
        gradients = [_dense(p.grad) for p in movement.table.parameters]
        found = [g for g in gradients if g is not None]
        if not found:
            return None
        with torch.no_grad():
            types = {g.dtype for g in found}
            wide = torch.float64 if torch.float64 in types else torch.float32
            norms = torch.stack(torch._foreach_norm(found) if types == {wide} else torch._foreach_norm(found, 2, dtype=wide))
            if movement.one_to_one and len(found) == len(gradients):
                return norms
            base, layers = self._places(tuple(i for i, g in enumerate(gradients) if g is not None))
            return base.index_add(0, layers, norms.to(base.dtype).square_()).sqrt_()

    def _places(self, found: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Zeros for the layers that have a gradient and NaN for the others; and the layer of each gradient there is."""
        if self._sample is not self._movement.sample:
            self._sample, self._blank = self._movement.sample, {}
        known = self._blank.get(found)
        if known is None:
            table, device = self._movement.table, self._movement.sample.device
            layers = [table.layers[i] for i in found]
            base = torch.full((len(table.names),), math.nan, dtype=torch.float32 if device.type == "mps" else torch.float64)
            base[layers] = 0.0
            known = self._blank[found] = (base.to(device), torch.tensor(layers).to(device))
        return known


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


def _dense(gradient: Tensor | None) -> Tensor | None:
    """A gradient as real numbers of this process; None for a sparse one that could only be read by waiting for a device."""
    if gradient is None or (type(gradient) is Tensor and gradient.layout is torch.strided and not gradient.is_complex()):
        return gradient
    part = local(gradient.detach())
    if part.is_sparse:
        if part.device.type != "cpu" and not part.is_coalesced():
            return None
        part = part.coalesce().values()
    return torch.view_as_real(part.resolve_conj()) if part.is_complex() else part
