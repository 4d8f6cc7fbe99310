"""Whether batches with inputs unlike all others are what BatchNorm's running statistics still hold at a validation."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.finding import Finding
from tb_losslens.analysis.outliers import Rows
from tb_losslens.store.run import Run

_NO_OTHER_REASON = "lag"
"""Sub-kind of a drift of which neither counts, nor the last batch, nor the momentum tell why."""


def is_left_by(run: Run, drift: Finding, rows: Rows) -> bool:
    """True if each of `rows` comes right before a validation that `drift` names, and all that it names begin with one of these.

    Normalised by its own batch, such a batch looks like any other to the layers behind, so its loss does not show it. What is
    left of it at the validations after the next one is less, and may show or not.
    """
    if drift.detail != _NO_OTHER_REASON or not drift.steps or not len(rows):
        return False
    ends = np.unique([event.batch for event in run.events if event.kind == "validation_end"])
    spoiled = np.isin(ends, np.searchsorted(run.step, drift.steps) + 1)
    place = np.searchsorted(ends, rows, side="right")
    if not (place < len(ends)).all() or not spoiled[place].all():
        return False
    first = np.flatnonzero(spoiled & ~np.concatenate([[False], spoiled[:-1]]))
    return bool(np.isin(first, place).all())
