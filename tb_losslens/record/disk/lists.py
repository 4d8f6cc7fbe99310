"""The list values of the rows of one chunk: in the log of its segment and, until the chunk is written, here."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.events.tail import LIST, list_description
from tb_losslens.record.disk.ring import Segment


class Lists:
    """Arrays by the name of their signal and the row that they belong to.

    Attributes:
        arrays: by name, then by row.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, dict[int, NDArray[Any]]] = {}

    def add(self, segment: Segment, row: int, name: str, numbers: NDArray[Any]) -> bool:
        """Adds a list of a row; False if the segment has no room for it."""
        self.arrays.setdefault(name, {})[row] = numbers
        description = _described(name, numbers.dtype.str, numbers.shape[1] if numbers.ndim > 1 else 0)
        return segment.append(LIST, segment.first_batch + row, description, numbers.tobytes())

    def extend(self, first: int, name: str, table: NDArray[Any]) -> None:
        """Adds the lists of the rows from `first` on, one for each row of `table`; they are in the log already."""
        self.arrays.setdefault(name, {}).update(zip(range(first, first + len(table)), table, strict=True))

    def take(self, row: int) -> dict[str, NDArray[Any]]:
        """The lists of a row, which are then forgotten."""
        return {name: arrays.pop(row) for name, arrays in self.arrays.items() if row in arrays}


@lru_cache(maxsize=64)
def _described(name: str, dtype: str, width: int) -> bytes:
    return list_description(name, np.empty((0, width) if width else 0, dtype))


def as_list(values: Any) -> NDArray[Any]:
    """List values as a contiguous array of numbers, shape (any,) or (any, k).

    Raises:
        ValueError: they are not numbers.
    """
    numbers = np.ascontiguousarray(values)
    if numbers.dtype.kind not in "biuf" or numbers.ndim not in (1, 2):
        if numbers.size == 0:
            return np.empty(0, np.int64)
        raise ValueError(f"a list of numbers was expected, got {numbers.dtype} of shape {numbers.shape}")
    return numbers
