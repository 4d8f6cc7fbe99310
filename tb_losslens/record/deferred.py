"""Numbers that a device has still to compute: copied to the host without making anything wait."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Deferred:
    """Named 0-d results of one step, on their way to the host in one copy.

    Only 0-d results are held, never a tensor that came from a loader. On the CPU there is nothing to wait for: callers
    read such a result at once and never bring it here.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._tensors: list[Tensor] = []
        self._host: Tensor | None = None
        self._event: torch.cuda.Event | None = None

    @property
    def names(self) -> list[str]:
        """What has been added and not been read yet."""
        return self._names

    def add(self, name: str, value: Tensor) -> None:
        """Takes a 0-d tensor on any device; one on the meta device has no number and is left out."""
        if value.device.type == "meta":
            return
        self._names.append(name)
        self._tensors.append(value.detach())
        self._host = None

    @property
    def ready(self) -> bool:
        """True once `result` would not wait; the first call starts the copy."""
        if not self._names:
            return True
        if self._host is None:
            self._send()
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def result(self) -> dict[str, float]:
        """The numbers by name; waits for the device if need be. Empties this."""
        if not self._names:
            return {}
        if self._host is None:
            self._send()
        assert self._host is not None
        if self._event is not None:
            self._event.synchronize()
        values = dict(zip(self._names, self._host.tolist(), strict=True))
        self.__init__()  # type: ignore[misc]
        return values

    def _send(self) -> None:
        device = self._tensors[0].device
        with torch.no_grad():
            if device.type != "cuda":
                self._host = _waited_for(self._tensors)
                return
            stacked = torch.stack([tensor.to(device, torch.float64).reshape(()) for tensor in self._tensors])
            self._host = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
            self._host.copy_(stacked, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(device))


def _waited_for(tensors: Sequence[Tensor]) -> Tensor:
    """Numbers of a device from which nothing is copied in the background, float64; it need not know that type, as MPS."""
    host = torch.empty(len(tensors), dtype=torch.float64)
    kinds = [torch.promote_types(t.dtype, torch.float32 if t.is_floating_point() else torch.int64) for t in tensors]
    for kind in set(kinds):
        places = [i for i, found in enumerate(kinds) if found is kind]
        host[places] = torch.stack([tensors[i].to(tensors[0].device, kind).reshape(()) for i in places]).cpu().double()
    return host
