"""Sees which samples a loader asks for, in the order in which its workers get them."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset

Ids = NDArray[np.int64]


class Trail:
    """Ids of the batches that a sampler has handed out and that the loader has not delivered yet."""

    __slots__ = ("_queue", "_skip", "started")

    def __init__(self, skip: int = 0) -> None:
        self.started = False
        self._skip = skip
        self._queue: deque[array[int] | Ids | None] = deque()

    def append(self, index: Any) -> None:
        """Notes one batch of the sampler: a list of ids, or one id where the loader does no batching of its own."""
        if self._skip:
            self._skip -= 1
            return
        # a copy, since the list is the sampler's; made now, while its numbers are in the caches of the processor
        if type(index) is list and index and type(index[0]) is int:
            try:
                self._queue.append(array("q", index))
                return
            except (TypeError, OverflowError):
                pass  # not all of them are integers of 64 bits
        self._queue.append(as_ids(index))

    def next(self) -> Ids | None:
        """Ids of the oldest batch, int64 of shape (n,); None if they are unknown or are not integers."""
        ids = self._queue.popleft() if self._queue else None
        return as_ids(ids) if isinstance(ids, array) else ids

    def take(self) -> array[int] | None:
        """The same as an array of Python's, which is quicker to copy."""
        ids = self._queue.popleft() if self._queue else None
        return array("q", ids.tobytes()) if isinstance(ids, np.ndarray) else ids

    def put_back(self, ids: array[int]) -> None:
        """What was taken is to be the next again."""
        self._queue.appendleft(ids)


class _Tap:
    """Stands in for a sampler while a loader starts to iterate; passes everything on and notes what goes by."""

    def __init__(self, sampler: Any, trail: Trail) -> None:
        self._sampler = sampler
        self._trail = trail

    def __iter__(self) -> Iterator[Any]:
        self._trail.started = True
        return Tapped(iter(self._sampler), self._trail)

    def __len__(self) -> int:
        return len(self._sampler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def __reduce__(self) -> tuple[Any, ...]:
        # a worker started by `spawn` may be sent an object that holds the loader: it gets the plain sampler
        return _same, (self._sampler,)


class Tapped:
    """The iterator of a sampler, with an eye on what it hands out."""

    __slots__ = ("_iterator", "_trail")

    def __init__(self, iterator: Iterator[Any], trail: Trail) -> None:
        self._iterator = iterator
        self._trail = trail

    def __iter__(self) -> Tapped:
        return self

    def __next__(self) -> Any:
        index = next(self._iterator)
        self._trail.append(index)
        return index


def unknown_ids(loader: Any) -> str:
    """Why the sample ids of a loader cannot be known, or "" if they can."""
    if not isinstance(loader, DataLoader):
        return "the loader is not a torch DataLoader"
    if isinstance(loader.dataset, IterableDataset):
        return "the data set is an IterableDataset, which has no ids"
    if loader.num_workers and not getattr(loader, "in_order", True):
        return "the loader has in_order=False, so that batches arrive in any order"
    if _sampler_name(loader) not in vars(loader):
        return "the loader has no sampler of its own"
    return ""


@contextmanager
def tapped(loader: DataLoader[Any], trail: Trail) -> Iterator[None]:
    """While this is open, an iterator that `loader` starts reports what its sampler hands out to `trail`.

    The iterator takes its sampler when it is made, and hands out the first indices to workers at once, so the stand-in
    must be there before and can be gone afterwards: the loader is then as it was. The sampler itself is asked exactly
    as often and in the same order as without us.
    """
    name = _sampler_name(loader)
    sampler = vars(loader)[name]
    tap = _Tap(sampler, trail)
    running: Any = getattr(loader, "_iterator", None)
    # past DataLoader.__setattr__, which forbids to set a sampler
    vars(loader)[name] = tap
    if running is not None:  # persistent workers: the old iterator starts again from its own reference
        running._index_sampler = tap
    try:
        yield
    finally:
        vars(loader)[name] = sampler
        untap(running)
        untap(getattr(loader, "_iterator", None))


def untap(iterator: Any) -> None:
    """Gives an iterator that was started under `tapped` its own sampler back."""
    tap = getattr(iterator, "_index_sampler", None)
    if isinstance(tap, _Tap):
        iterator._index_sampler = tap._sampler


def _sampler_name(loader: DataLoader[Any]) -> str:
    return "sampler" if loader.batch_sampler is None else "batch_sampler"


def as_ids(index: Any) -> Ids | None:
    """What a sampler handed out as ids, int64 of shape (n,); None if these are no integers."""
    try:
        ids = np.array(index)
        if ids.ndim == 1 and ids.dtype == np.int64:
            return ids
        ids = np.atleast_1d(ids)
        if ids.dtype == object:  # a list of 0-d tensors
            ids = np.array([int(item) for item in index])
    except Exception:  # noqa: BLE001 - what a sampler hands out may have code of its own, and this is inside the loader
        return None
    return ids.astype(np.int64) if ids.ndim == 1 and ids.dtype.kind in "iu" else None


def _same(sampler: Any) -> Any:
    return sampler
