"""What was measured of one batch, beside what is usual around it: inputs, targets, gradients, also by layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tb_losslens.analysis.outliers import level_at
from tb_losslens.analysis.per_layer import by_layer
from tb_losslens.analysis.recordable import lines_there
from tb_losslens.analysis.stats import median
from tb_losslens.events.columns import BY_NAME, how_to_record
from tb_losslens.store.run import Run

NUMBERS = (
    "loss",
    "lr",
    "batch_size",
    "grad_norm",
    "grad_norm_at_step",
    "update_ratio",
    "input_mean",
    "input_std",
    "input_nonfinite",
    "target_mean",
    "target_std",
    "sample_level_max",
    "sample_loss_max",
    "data_wait",
)
"""Columns that are told of a batch, in this order, where they are known there."""

_WANTED = ("sample_ids", "classes", "input_mean", "grad_norm", "layer_grad_norm", "per_sample")
_AROUND = 100


def numbers_of(run: Run, batch: int) -> list[dict[str, Any]]:
    """`{"name", "label", "unit", "value", "usual", "z"}` of each column that is known at the batch.

    `usual` is the level of the known values around the batch (`local_level`), `z` the distance from it in robust standard
    deviations; None where those values do not differ.
    """
    extra = sorted(name for name in run.columns if name not in BY_NAME and run.columns[name].dtype.kind in "fiu")
    out = []
    for name in [*NUMBERS, *(name for name in extra if not name.startswith("lr."))]:
        column = run.float(name)
        if not math.isfinite(column[batch]):
            continue
        usual, sigma = level_at(column, batch)
        value = float(column[batch])
        z = (value - usual) / sigma if sigma > 0 else None
        signal = BY_NAME.get(name)
        label, unit = (signal.label, signal.unit) if signal else (name, "")
        out.append({"name": name, "label": label, "unit": unit, "value": value, "usual": _known(usual), "z": z})
    return out


def layers_of(run: Run, batch: int, *, column: str = "layer_grad_norm") -> dict[str, Any]:
    """`{"batch", "names", "value", "usual"}`: the gradient of each layer at the nearest batch where it was read.

    `usual` is the median over the other batches at most 100 away. Without such a batch `names` is empty.
    """
    first, last = max(0, batch - _AROUND), min(len(run), batch + _AROUND + 1)
    names, table = by_layer(run, column, first, last)
    read = np.flatnonzero(np.isfinite(table).any(axis=1))
    if not names or not len(read):
        return {"batch": batch, "names": [], "value": [], "usual": []}
    at = int(read[np.argmin(np.abs(read + first - batch))])
    others = table[np.setdiff1d(read, [at])]
    usual = [_known(median(others[:, place])) for place in range(len(names))]
    return {"batch": first + at, "names": names, "value": [_known(value) for value in table[at].tolist()], "usual": usual}


def lacking(run: Run) -> list[dict[str, str]]:
    """What a look at a batch lacks because it was never recorded, with the line that records it, or why that gives nothing."""
    names = [name for name in _WANTED if not run.has(name) and not (name == "classes" and run.has("target_mean"))]
    there = lines_there(run, names)
    return [{"label": BY_NAME[name].label, "how": there.get(how_to_record(name), how_to_record(name))} for name in names]


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
