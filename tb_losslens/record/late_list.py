"""A list of numbers that a device has still to compute: on its way to the host, and an array once somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.record.host_view import host_view


def comes_unasked(device: torch.device) -> bool:
    """True if numbers of this device come to the host, as a `LateList`, without anything waiting for them."""
    return device.type in ("cpu", "cuda")


class LateList:
    """The elements of a tensor on a device, copied to the host without making anything wait.

    Numpy takes it for an array (`np.asarray`), so it can stand in `row.lists`. Only that waits for the device, and only if
    the device is not there yet; a row that also has numbers of the same step in `row.later` is stored after those are known,
    hence after this.

    Args:
        tensor: any shape, on any device; it is read now, in the order of the device's own work.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._then: Callable[[NDArray[Any]], NDArray[Any]] | None = None
        with torch.no_grad():
            values = tensor.detach().to(torch.float32)
            if values.device.type != "cuda":
                self._host = values.cpu()
                return
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(values.device))

    @property
    def ready(self) -> bool:
        """True once reading it would not wait."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def then(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> LateList:
        """What `function` makes of the numbers, once they are read: of the same copy to the host."""
        other = LateList.__new__(LateList)
        other._host, other._event, other._then = self._host, self._event, function
        return other

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The numbers, float32; waits for the device if need be."""
        if self._event is not None:
            self._event.synchronize()
        array: NDArray[Any] = self._host.numpy().copy()  # a pinned buffer goes back to be used again
        if self._then is not None:
            array = self._then(array)
        return array if dtype is None else array.astype(np.dtype(dtype))


def as_row_list(values: Tensor | NDArray[Any]) -> NDArray[np.float32] | LateList:
    """A new tensor or array of shape (k,) as `row.lists` holds it: an array where it is on the CPU, else what becomes one."""
    if not isinstance(values, Tensor):
        return values.astype(np.float32)
    if values.device.type == "cpu":
        array: NDArray[np.float32] = host_view(values.detach().to(torch.float32))
        return array
    return LateList(values)
