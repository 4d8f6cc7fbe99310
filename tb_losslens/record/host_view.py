"""Reads a tensor of the training as an array, and leaves the tensor as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def host_view(tensor: Tensor) -> NDArray[Any]:
    """An array on the memory of a strided tensor on the CPU, of any shape and of a type that numpy has.

    Not by `Tensor.numpy`, which forbids its storage to be resized for good: a sharded model frees its parameters by
    resizing them, and a training may do so with whatever is its own.

    Raises:
        BufferError, RuntimeError or TypeError: numpy has no such type or layout.
    """
    values = tensor.detach()
    if values.dtype is torch.bool:  # not among the types that numpy before 1.25 takes over
        return host_view(values.view(torch.uint8)).view(np.bool_)
    array: NDArray[Any] = np.from_dlpack(values)
    return array
