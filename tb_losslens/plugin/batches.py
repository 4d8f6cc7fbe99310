"""Builds what /batches and /batch answer: the batches that lie furthest from those around them, and one of them opened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.batch_numbers import lacking, layers_of, numbers_of
from tb_losslens.analysis.batch_samples import classes_of, ids_of, visits_of
from tb_losslens.analysis.unusual import FAR, furthest, said, unusual
from tb_losslens.plugin.wire import numbers, shortened
from tb_losslens.store.run import Run

_MOST_IDS = 1000
_AROUND = 20


def build(run: Run) -> dict[str, Any]:
    """At most 200 batches in order; see http_api.md for the shape."""
    found = unusual(run)
    rows, count = furthest(found)
    bad = np.isinf(found.loss[rows])
    names = ["batch", "step", "epoch", "index", "loss", "usual", "loss_z", "grad_norm", "grad_z", "input_z"]
    whole = [_counted(run, name, rows) for name in ("epoch", "index")]
    known = (run.loss[rows], found.usual[rows], np.where(bad, np.nan, found.loss[rows]), run.float("grad_norm")[rows])
    columns = [rows.tolist(), run.step[rows].tolist(), *whole, *(numbers(column) for column in known)]
    columns += [numbers(found.gradient[rows], 4), numbers(found.inputs[rows], 4)]
    return {
        "names": names,
        "columns": columns,
        "nonfinite": rows[bad].tolist(),
        "far": FAR,
        "count": count,
        "said": said(found, count),
        "missing": lacking(run),
    }


def one(run: Run, batch: int) -> dict[str, Any]:
    """One batch with its samples, numbers, layers, neighbours and the same samples elsewhere; see http_api.md."""
    first, last = max(0, batch - _AROUND), min(len(run), batch + _AROUND + 1)
    ids = ids_of(run, batch)
    epoch, index = (_counted(run, name, np.array([batch]))[0] for name in ("epoch", "index"))
    around = [
        list(range(first - batch, last - batch)),
        numbers(run.loss[first:last]),
        numbers(run.float("grad_norm")[first:last]),
    ]
    layers = layers_of(run, batch)
    return {
        "batch": batch,
        "step": int(run.step[batch]),
        "epoch": epoch,
        "index": index,
        "ids": ids[:_MOST_IDS].tolist(),
        "samples": len(ids),
        "classes": classes_of(run, batch),
        "numbers": [
            {**each, **dict(zip(("value", "usual", "z"), _short(each), strict=True))} for each in numbers_of(run, batch)
        ],
        "layers": {**layers, "value": shortened(layers["value"]), "usual": shortened(layers["usual"])},
        "around": {"names": ["offset", "loss", "grad_norm"], "columns": around},
        "visits": visits_of(run, batch),
        "missing": lacking(run),
    }


def _counted(run: Run, name: str, rows: NDArray[np.int64]) -> list[int | None]:
    """A column of counts at some rows; None where it is not known, which a whole number says with -1."""
    return [int(value) if value >= 0 else None for value in run.float(name)[rows].tolist()]


def _short(each: dict[str, Any]) -> list[Any]:
    return shortened([each["value"], each["usual"], each["z"]])
