"""Whether a signal is another one right after a batch than right before it."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number
from tb_losslens.events.columns import BY_NAME
from tb_losslens.store.run import Run


def change_at(run: Run, name: str, row: int, m: int, *, spreads: float = 6.0) -> str:
    """How signal `name` changes at `row`, in words; "" where the `m` batches on either side do not tell, or it is a list.

    The medians of the sides differ by more than `spreads` times the larger median distance from them. A line that goes on
    straight through the row differs by 4 of them; what is constant on either side changes where it is not equal.
    """
    if name in run.ragged or not run.has(name):
        return ""
    values = run.float(name)
    before, after = finite(values[max(0, row - m) : row]), finite(values[row : row + m])
    if not len(before) or not len(after):
        return ""
    old, new = median(before), median(after)
    spread = max(median(np.abs(before - old)), median(np.abs(after - new)))
    tiny = 1e-9 * max(abs(old), abs(new))  # what rounding leaves
    if not abs(new - old) > spreads * spread + tiny:
        return ""
    return f"the {BY_NAME[name].label} changes here, from {number(old)} to {number(new)}; whether that is why cannot be told"
