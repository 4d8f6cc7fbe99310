"""What the validation loss does at a boundary where the training changed."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, plural
from tb_losslens.store.run import Run


def held_out_rises(run: Run, row: int, *, most: int = 5, least: int = 2) -> Evidence | None:
    """The validation loss before and after `row`, if all values after it lie above those before; None else.

    One that falls is what a training does anyway. A validation right before the first batch of an epoch belongs to the epoch
    before.

    Args:
        run: with validations.
        row: first row of the epoch in which something changed.
        most: values on either side that are compared.
        least: values that either side must have.
    """
    before = [v.value for v in run.validations if v.batch <= row and np.isfinite(v.value)][-most:]
    after = [v.value for v in run.validations if v.batch > row and np.isfinite(v.value)][:most]
    if min(len(before), len(after)) < least:
        return None
    if not min(after) > max(before):
        return None
    said = f"the validation loss goes from {number(before[-1])} to {number(after[0])} there"
    level = f"a median of {number(median(np.array(after)))}"
    return Evidence(f"{said}; {plural(len(after), 'value')} after it, with {level}, lie above all {len(before):,} before")
