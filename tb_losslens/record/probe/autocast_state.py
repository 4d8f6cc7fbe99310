"""Remembers under which autocast the training computes, and computes under the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class AutocastState:
    """What autocast was at a call of the training.

    Attributes:
        types: (device type, on or off, type computed in) for the CPU and the device of the model.
    """

    types: tuple[tuple[str, bool, torch.dtype], ...]

    @contextmanager
    def again(self) -> Iterator[None]:
        """The same inside, and nothing of it kept."""
        with ExitStack() as stack:
            for kind, enabled, dtype in self.types:
                # with its cache, weights that were cast here would be used by a training call that is still to come,
                # and have no gradients
                stack.enter_context(torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False))
            yield


def autocast_state(device: torch.device) -> AutocastState:
    """Autocast as it is now."""
    kinds = ("cpu",) if device.type in ("cpu", "meta") else ("cpu", device.type)
    return AutocastState(tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds))
