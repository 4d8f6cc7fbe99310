"""Builds what /fold answers: the loss by epoch and position, and the mean of what an epoch does."""

from __future__ import annotations

from typing import Any

from tb_losslens.analysis.fold import fold, grouped, profile
from tb_losslens.analysis.fold_words import said
from tb_losslens.plugin.wire import numbers
from tb_losslens.store.run import Run

_DIGITS = 5
"""Enough for a colour and for the words under the pointer; 15,360 cells with nine would be 250 KB."""


def build(run: Run, rows: int, positions: int) -> dict[str, Any]:
    """At most `rows` rows of at most `positions` cells; see http_api.md for the shape."""
    folded = fold(run, positions)
    cells, level, first, every = grouped(folded, rows)
    mean = profile(folded)
    return {
        "position": folded.position.tolist(),
        "length": folded.length,
        "epochs": len(folded.epochs),
        "per_row": every,
        "epoch": [epoch.epoch for epoch in first],
        "batch": [epoch.first for epoch in first],
        "level": numbers(level),
        "cells": [numbers(row, _DIGITS) for row in cells],
        "profile": {
            "names": ["mean", "low", "high"],
            "columns": [numbers(column, _DIGITS) for column in (mean.mean, mean.low, mean.high)],
            "epochs": int(folded.whole.sum()),
        },
        "said": said(folded),
    }
