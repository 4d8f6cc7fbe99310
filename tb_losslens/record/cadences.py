"""Decides how much is read of each batch: the cheap signals always, the dear ones and the dearest as two budgets allow."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch

from tb_losslens.record import cadence
from tb_losslens.record.cadence import DEEP, SPARSE, Cadence
from tb_losslens.record.thread_clock import thread_time

# what the build could use: to ask which devices there are would start their drivers, which a process that forks must not
_MAY_HAVE_DEVICE = (
    torch.version.cuda is not None
    or torch.version.hip is not None
    or getattr(torch.version, "xpu", None) is not None
    or torch.backends.mps.is_built()
)


class Cadences:
    """The cadence of dense rows, and among them that of deep ones.

    Args:
        spent: gives the seconds that recording has taken so far.
        deep: gives those of them that deep signals have taken.
    """

    def __init__(self, spent: Callable[[], float], deep: Callable[[], float]) -> None:
        self._dense = Cadence(lambda: spent() - deep(), training_time, grant=cadence.GRANT)
        self._passed = 0
        self._deep = Cadence(deep, training_time, grant=cadence.DEEP_GRANT, sure=1)

    def next(self, index: int, length: int) -> int:
        """Why the next row is dense, plus `DEEP` if it is deep; `SPARSE` if it is neither. Arguments as of `Cadence`."""
        dense = self._dense.next(index, length)
        if dense == SPARSE:
            self._passed += 1
            return SPARSE
        self._deep.passed(self._passed)
        self._passed = 0
        return dense | DEEP if self._deep.next(index, length) != SPARSE else dense

    @property
    def ahead(self) -> int:
        """Rows that will be sparse without this being asked."""
        return self._dense.ahead

    def skip(self, rows: int, index: int) -> None:
        """So many of these went by, the last of them at position `index` in the epoch."""
        self._dense.skip(rows, index)
        self._passed += rows

    def unusual(self) -> bool:
        """True if the row that is on may become dense because its loss is unusual."""
        return self._dense.unusual()

    @property
    def every(self) -> int:
        """Batches from one dense row to the next."""
        return self._dense.every


def training_time() -> float:
    """Seconds that the training has had: those in which its thread ran, or all where a device computes meanwhile.

    On a processor that others use as well a short step takes long. It is no long one: less would be read of it.
    """
    return perf_counter() if _MAY_HAVE_DEVICE and _device_is_used() else thread_time()


def _device_is_used() -> bool:
    return any(one.is_initialized() for one in (torch.cuda, torch.xpu)) or torch.backends.mps.is_available()
