"""A fixed sample of the elements of many tensors, read with one small operation a tensor and one for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parameter import is_lazy

from tb_losslens.record.measures import local

_HALF = (torch.float16, torch.bfloat16)


class _Place(NamedTuple):
    """Where the elements of one tensor are: `taken` of `size`, each `stride` after the one before."""

    size: int
    taken: int
    stride: int
    odd: bool


class Sample:
    """The same elements each time of tensors that are shaped as `parameters`: those themselves, their gradients, their moments.

    Elements of a tensor lie evenly apart; their distance has no divisor in common with the length of its rows, so that they
    come from all rows and columns. A complex element counts as two. Of a sharded tensor the part of this process is sampled.

    Args:
        parameters: floating or complex tensors of one device (see `can_sample`).
        most: elements of each tensor; a smaller tensor is taken whole.

    Attributes:
        parameters: the tensors, in order.
        weights: how many elements each sampled one stands for; shape (sampled,), float32. A sum over all elements is
            estimated by the sum of sample times weight (Horvitz and Thompson 1952), and exact if every tensor is taken whole.
        owner: number of the tensor that each sampled element is of; shape (sampled,), int64.
        device: where the tensors are.
    """

    def __init__(self, parameters: Sequence[Tensor], most: int = 256) -> None:
        self.parameters = list(parameters)
        self.device = local(self.parameters[0]).device if self.parameters else torch.device("cpu")
        self._places = [_place(parameter, most) for parameter in self.parameters]
        self._indices: dict[int, Tensor] = {}
        with torch.no_grad():
            counts = [place.taken for place in self._places]
            self._starts = np.cumsum([0, *counts[:-1]])
            self._factors = np.array([place.size / max(1, place.taken) for place in self._places])
            # filled on the device itself: a copy from the host would wait for it
            self._nothing = torch.zeros(max(counts, default=0), device=self.device)
            empty = torch.empty(0, device=self.device)
            self.weights = torch.cat(
                [empty] + [torch.full((p.taken,), p.size / max(1, p.taken), device=self.device) for p in self._places]
            )
            self.owner = torch.cat(
                [empty.long()] + [torch.full((n,), i, dtype=torch.long, device=self.device) for i, n in enumerate(counts)]
            )

    def fits(self) -> bool:
        """True while the parameters are as large and where they were."""
        return all(
            (local(p) if place.odd else p).numel() * (2 if p.is_complex() else 1) == place.size and p.device == self.device
            for p, place in zip(self.parameters, self._places, strict=True)
        )

    def values(self) -> Tensor:
        """The sampled elements of the parameters themselves; shape (sampled,), at least float32."""
        return self.of(self.parameters)

    def of(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """The sampled elements of dense tensors, one for each parameter and of its shape; zeros in the place of None.

        Returns:
            Shape (sampled,), on the device, float32 or float64: a new tensor, never a view.

        Raises:
            RuntimeError: a tensor has another layout or device.
        """
        parts = []
        with torch.no_grad():
            for i, (tensor, (size, taken, stride, odd)) in enumerate(zip(tensors, self._places, strict=True)):
                if tensor is None:
                    parts.append(self._nothing[:taken])
                    continue
                part = _real(tensor) if odd else tensor
                if part.numel() != size:
                    raise RuntimeError(f"a tensor of {size} elements was expected, got {tuple(tensor.shape)}")
                # in the order of the elements, whatever that of the memory is: the two of a pair may differ in it
                parts.append(part.as_strided((taken,), (stride,)) if part.is_contiguous() else torch.take(part, self._index(i)))
            if not parts:
                return torch.empty(0)
            values = torch.cat(parts) if len(parts) > 1 else parts[0].clone()
            return values.float() if values.dtype in _HALF else values

    def weighed(self, values: Tensor) -> Tensor:
        """A sample times its weights, to be one side of `dot`."""
        with torch.no_grad():
            return values * self.weights

    def dot(self, values: Tensor, weighed: Tensor) -> Tensor | float:
        """Scalar product of all elements, estimated from a sample and a weighed one; 0-d where they are not on the CPU."""
        with torch.no_grad():
            if self.device.type == "cpu":
                return torch.dot(values.to(weighed.dtype), weighed).item()
            return (values * weighed).sum()  # not as a matrix product, which autocast would take in half precision

    def squares(self, *samples: Tensor) -> NDArray[Any] | Tensor:
        """Sum of the squares of all elements of each tensor, estimated from samples.

        Returns:
            Shape (samples, parameters): a float64 array where they are on the CPU, else a tensor on their device.
        """
        if self.device.type == "cpu":
            arrays = np.stack([values.numpy() for values in samples])
            with np.errstate(all="ignore"):  # of a training that diverges they are infinite
                arrays *= arrays
                found: NDArray[Any] = np.add.reduceat(arrays, self._starts, axis=1) * self._factors
            return found
        with torch.no_grad():
            values = torch.stack(samples)
            return values.new_zeros(len(samples), len(self._places)).index_add_(1, self.owner, values * values * self.weights)

    def _index(self, i: int) -> Tensor:
        index = self._indices.get(i)
        if index is None:
            _, taken, stride, _ = self._places[i]
            index = self._indices[i] = torch.arange(taken, device=self.device) * stride
        return index


def can_sample(tensor: Tensor) -> bool:
    """True for a dense tensor of real or complex numbers of 16 bits and more that has elements here."""
    if is_lazy(tensor) or tensor.is_meta or tensor.layout is not torch.strided or not local(tensor).numel():
        return False
    return tensor.is_complex() or (tensor.is_floating_point() and tensor.element_size() > 1)


def _real(tensor: Tensor) -> Tensor:
    part = local(tensor.detach())
    return torch.view_as_real(part.resolve_conj()) if part.is_complex() else part


def _place(parameter: Tensor, most: int) -> _Place:
    part = _real(parameter)
    size = part.numel()
    taken = min(size, most)
    stride = max(1, size // max(1, taken))
    width = math.prod(part.shape[1:])
    while stride > 1 and math.gcd(stride, max(1, width)) > 1:
        stride -= 1
    plain = type(parameter) in (Tensor, torch.nn.Parameter) and not parameter.is_complex()
    return _Place(size, taken, stride, not plain)
