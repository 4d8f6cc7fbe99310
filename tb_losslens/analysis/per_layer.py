"""What was read of each layer in each batch, as a table with a name for each column."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.stats import Floats
from tb_losslens.store.run import Run

PER_LAYER = {"layer_grad_norm": "layers", "layer_update_ratio": "layers", "bn_mean_gap": "batchnorm"}
"""Lists with one value for each layer, and the fact that names the layers."""


def by_layer(run: Run, column: str, first: int, last: int, *, most: int = 400) -> tuple[list[str], Floats]:
    """(names, values of shape (last - first, names)) of a list; NaN in rows that were not read, no names where it is unknown.

    Rows whose number of values is not that of the names are left out; of more than `most` layers the first ones are given.
    """
    fact = run.facts.get(PER_LAYER[column])
    names = fact.get("names") if isinstance(fact, dict) else fact
    ragged = run.ragged.get(column)
    if ragged is None or not isinstance(names, (list, tuple)) or not names or len(ragged) < last:
        return [], np.empty((last - first, 0))
    names = [str(name) for name in names]
    table = np.full((last - first, len(names)), np.nan)
    for row in range(first, last):
        begin, end = int(ragged.offsets[row]), int(ragged.offsets[row + 1])
        if end - begin == len(names):
            table[row - first] = np.asarray(ragged.values[begin:end], dtype=np.float64).reshape(end - begin, -1)[:, 0]
    return names[:most], table[:, :most]


def of_layer(column: str, name: str, *, most: int = 16) -> str:
    """A label that fits beside the plot: of a long name the end, which tells layers apart; the signal's name has all of it."""
    what = {"layer_grad_norm": "grad", "layer_update_ratio": "update", "bn_mean_gap": "BN gap"}[column]
    return f"{what} {name if len(name) <= most else '…' + name[1 - most :]}"
