"""Builds what /layers answers: one number of each layer by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.layer_map import LayerMap, layer_map, layer_names, said
from tb_losslens.analysis.per_layer import PER_LAYER
from tb_losslens.analysis.recordable import lines_there
from tb_losslens.analysis.stats import Floats
from tb_losslens.events.columns import BY_NAME, how_to_record
from tb_losslens.plugin.wire import numbers
from tb_losslens.store.run import Run

SIGNALS = tuple(PER_LAYER)
_LABELS = {"layer_grad_norm": "gradient norm", "layer_update_ratio": "update / weight", "bn_mean_gap": "BatchNorm gap"}
_DIGITS = 5


def build(run: Run, signal: str, first: int, last: int, columns: int) -> dict[str, Any]:
    """The map of `signal`, or of the first one that was recorded where it was not; see http_api.md for the shape."""
    there = [name for name in SIGNALS if run.has(name) and layer_names(run, name)]
    shown = signal if signal in there or not there else there[0]
    found = layer_map(run, shown, first, last, columns=columns)
    batch, cells = _with_blanks(found, last, least=(last - first) / columns)
    return {
        "signal": shown,
        "signals": [{"name": name, "label": _LABELS[name]} for name in there],
        "label": BY_NAME[shown].label,
        "from": first,
        "to": last,
        "names": found.names,
        "layers": found.layers,
        "batch": batch.tolist(),
        "read": found.read,
        "cells": [numbers(row, _DIGITS) for row in cells],
        "said": said(found),
        "missing": _missing(run, there),
    }


def _with_blanks(found: LayerMap, last: int, *, least: float, longer: float = 4.0) -> tuple[NDArray[np.int64], Floats]:
    """First batch and values of each column, with an empty one where nothing was read for long.

    A column is drawn up to the next one. Where that is `longer` times as far away as usual, one reading would fill the rest of
    an epoch with what nobody has seen there: it is drawn for the usual distance, or for `least` batches.
    """
    if not len(found.batch):
        return found.batch, found.cells
    apart = np.diff(np.append(found.batch, last))
    usual = int(np.ceil(max(least, float(np.median(apart)))))
    gaps = np.flatnonzero(apart > longer * usual)
    return np.insert(found.batch, gaps + 1, found.batch[gaps] + usual), np.insert(found.cells, gaps + 1, np.nan, axis=1)


def _missing(run: Run, there: list[str]) -> list[dict[str, str]]:
    """What of the three was not recorded; a model without BatchNorm has no gap to record."""
    model = run.facts.get("model")
    without = isinstance(model, dict) and model.get("batchnorm") == 0
    lacking = [name for name in SIGNALS if name not in there and not (name == "bn_mean_gap" and without)]
    lines = lines_there(run, lacking)
    return [{"label": _LABELS[name], "how": lines.get(how_to_record(name), how_to_record(name))} for name in lacking]
