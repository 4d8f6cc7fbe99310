"""Tells the data sets behind loaders apart: sample 17 of one is not sample 17 of another."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Subset, TensorDataset

from tb_losslens.record.host_view import host_view
from tb_losslens.record.sampler_tap import as_ids

MOST_KNOWN = 64
"""Data sets that are told apart; the oldest one is forgotten."""

MOST_INDICES = 1_000_000
"""A larger `Subset` is a data set of its own: to read its indices takes longer than it is worth."""

_DEPTH = 8


@dataclass(frozen=True, eq=False)
class Samples:
    """What the sample ids of a loader stand for.

    Attributes:
        number: of the data set, 0 for the first one.
        index: index in the data set of each id, int64; None where the ids are these.
    """

    number: int
    index: NDArray[np.int64] | None = None

    def places(self, ids: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Indices in the data set of these ids, both of shape (n,); None where an id has none."""
        if self.index is None or not len(ids):
            return ids
        if int(ids.min()) < 0 or int(ids.max()) >= len(self.index):
            return None
        found: NDArray[np.int64] = self.index[ids]
        return found


class DataSets:
    """Numbers of the data sets that were iterated; refers to none of them, and asks none of them for a sample.

    A `Subset` counts as what it is a part of, and a `TensorDataset` as its first tensor, so that a loader that is built anew in
    each epoch is one over the same data. What nothing can refer to weakly (a list) is told by its place in memory and length.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Callable[[], Any], int]] = []
        self._plain: dict[tuple[int, type, int], int] = {}
        self._next = 0

    def of(self, loader: Any) -> Samples | None:
        """What the ids of this loader stand for now; None for one that has no data set."""
        if not isinstance(loader, DataLoader):
            return None
        data, index = _underlying(loader.dataset)
        return Samples(self._number(data), index)

    def _number(self, data: Any) -> int:
        try:
            weakref.ref(data)
        except TypeError:
            key = (id(data), type(data), len(data))
            if key not in self._plain:
                self._plain[key], self._next = self._next, self._next + 1
            return self._plain[key]
        self._known = [(one, number) for one, number in self._known if one() is not None][-MOST_KNOWN:]
        for one, number in self._known:
            if one() is data:
                return number
        number, self._next = self._next, self._next + 1
        self._known.append((weakref.ref(data), number))
        return number


def _underlying(data: Any) -> tuple[Any, NDArray[np.int64] | None]:
    """What a data set is a part of, and the index in it of each sample of the part."""
    index: NDArray[np.int64] | None = None
    for _ in range(_DEPTH):
        if type(data) is not Subset:
            break
        inner = _indices(data.indices)
        if inner is None or (index is not None and len(index) and not -1 < int(index.min()) <= int(index.max()) < len(inner)):
            break
        index = inner if index is None else inner[index]
        data = data.dataset
    if type(data) is TensorDataset and data.tensors:
        data = data.tensors[0]
    return data, index


def _indices(indices: Any) -> NDArray[np.int64] | None:
    if isinstance(indices, range):
        return np.arange(indices.start, indices.stop, indices.step, dtype=np.int64)
    if isinstance(indices, Tensor):
        indices = host_view(indices) if indices.device.type == "cpu" else None
    return as_ids(indices) if hasattr(indices, "__len__") and len(indices) <= MOST_INDICES else None
