"""Sees what the model is given: against the loader's batch, at fixed places, and sample by sample."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tb_losslens.record.batch import Batch, tensors_of
from tb_losslens.record.collector import Collector
from tb_losslens.record.late_list import as_row_list
from tb_losslens.record.measures import first_floating, local
from tb_losslens.record.row import Row
from tb_losslens.record.signals.input_relation import PLACES, Places, places_of, relation, stride

EVERY = 16
"""Batches of which one is compared with the loader's, besides the first ones of each epoch."""

FIRST = 8
"""First batches of an epoch that are all compared."""

_LOOKED_AT = 3
_HALF_MOST = 60_000.0
_APART = 32
_IN_PYTHON = 512


class InputSignals(Collector):
    """`input_relation` with slope and offset, `input_sketch`, and `sample_level_max`, `_median`, `_min`, `_at`.

    The relation is known on the CPU, where the model is given a tensor of the same shape as one of the loader's. Whether a
    slope is constant shows in its column. The sketch is the mean over the batch at up to 64 places of a sample that are the
    same for all batches of one shape; the level of a sample is the mean of its elements.
    """

    deep = True
    name = "signals of the input"

    def __init__(self) -> None:
        self._loaded: weakref.WeakKeyDictionary[Batch, list[Places]] = weakref.WeakKeyDictionary()

    def delivered(self, batch: Batch, raw: Any) -> None:
        """Keeps a few hundred numbers of some batches, for as long as the batch is in use."""
        if batch.index >= FIRST and batch.index % EVERY:
            return
        found = []
        for number, tensor in enumerate(tensors_of(raw)):
            if number == _LOOKED_AT:
                break
            places = places_of(tensor)
            if places is not None:
                found.append(places)
        if found:
            self._loaded[batch] = found

    def inputs_given(self, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tells all of it about the first floating input."""
        tensor = first_floating((args, kwargs))
        if tensor is None or tensor.dim() < 2:
            return
        with torch.no_grad():
            given = local(tensor.detach())
            self.tell(row, _levels(given))
            row.lists["input_sketch"] = _sketch(given)
        self._tell_relation(row, given)

    def _tell_relation(self, row: Row, given: Tensor) -> None:
        loaded = self._loaded.get(row.batch) if row.batch is not None else None
        now = places_of(given) if loaded else None
        if loaded is None or now is None:
            return
        before = next((places for places in loaded if places.shape == now.shape), None)
        found = relation(before, now) if before is not None else None
        if found is not None:
            self.tell(row, {"input_relation": found.code, "input_slope": found.slope, "input_offset": found.offset})


def _levels(given: Tensor) -> dict[str, float | Tensor]:
    levels = given.mean(dim=tuple(range(1, given.dim())), dtype=_wide(given))
    if levels.device.type == "cpu" and len(levels) <= _IN_PYTHON:
        return _few_levels(levels.tolist())
    highest, at = levels.max(0)
    return {
        "sample_level_max": highest,
        "sample_level_median": levels.median(),
        "sample_level_min": levels.min(),
        "sample_level_at": at,
    }


def _few_levels(levels: list[float]) -> dict[str, float | Tensor]:
    """The same in Python, which for few numbers is faster: a NaN is the highest, the median and the lowest, as in torch."""
    ordered = sorted(levels)
    total = sum(levels)
    bad = next((i for i, level in enumerate(levels) if level != level), -1) if total != total else -1  # noqa: PLR0124 - NaN
    if bad >= 0:
        nan = levels[bad]
        return {"sample_level_max": nan, "sample_level_median": nan, "sample_level_min": nan, "sample_level_at": bad}
    return {
        "sample_level_max": ordered[-1],
        "sample_level_median": ordered[(len(ordered) - 1) // 2],
        "sample_level_min": ordered[0],
        "sample_level_at": levels.index(ordered[-1]),
    }


def _sketch(given: Tensor) -> Any:
    # other layouts would have to be copied whole to be flattened
    rows = given if given.is_contiguous() else given[:_APART]
    picked = rows.reshape(len(rows), -1)[:, :: stride(tuple(given.shape[1:]))][:, :PLACES]
    mean = picked.mean(0, dtype=_wide(given))
    sketch = as_row_list(mean)
    if isinstance(sketch, np.ndarray) and np.abs(sketch).max(initial=0) < _HALF_MOST:
        return sketch.astype(np.float16)
    return sketch


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
