"""What a move of the loss at a boundary looks like: a spike, a step, a transient, or a divergence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Cuts
from tb_losslens.analysis.finding import Shape
from tb_losslens.analysis.stats import Floats, finite, mean


def shapes(loss: Floats, cuts: Cuts, m: int, *, jump: Floats, centre: Floats, significant: NDArray[np.bool_]) -> list[Shape]:
    """The shape at each boundary, "none" where the jump is within noise; arrays of shape (boundaries,)."""
    out: list[Shape] = ["none"] * len(cuts)
    for k in np.flatnonzero(significant):
        before = loss[cuts.first[k] : cuts.last[k]]
        after = loss[cuts.start[k] : cuts.end[k]]
        out[k] = shape_of(before, after, m, float(jump[k] - centre[k]))
    return out


def shape_of(
    before: Floats, after: Floats, m: int, excess: float, *, alone: float = 0.4, back: float = 0.6, fold: float = 3.0
) -> Shape:
    """Shape of one significant jump, from the batches of the epoch before and the epoch after.

    Args:
        before: batch loss of the epoch before.
        after: batch loss of the epoch after.
        m: batches a side; the jump was measured with it.
        excess: the jump beyond its placebo median.
        alone: a spike if less than this part of the jump is left without its most extreme batch. (A spike shrinks as
            1/m with the window, a step does not; leaving the batch out asks the same of one window.)
        back: a transient if by the end of the epoch after at least this part of the jump is gone.
        fold: a divergence if the epoch ends above this multiple of the level just after the boundary.
    """
    left, right = finite(before[-m:]), finite(after[:m])
    if len(left) == 0 or len(right) == 0 or excess == 0:
        return "none"
    up = excess > 0
    level = mean(right)
    late = mean(after[-max(m, len(after) // 4) :])
    if up and (not np.isfinite(after[-m:]).any() or (level > 0 and late > fold * level)):
        return "divergence"
    if len(left) > 2 and len(right) > 2:
        full = level - mean(left)
        for trimmed in (_trim(right, highest=up).mean() - mean(left), level - _trim(left, highest=not up).mean()):
            if abs(full - trimmed) > (1 - alone) * abs(excess):
                return "spike"
    if len(after) >= 3 * m and (level - late) / excess >= back:
        return "transient"
    return "step_up" if up else "step_down"


def _trim(values: Floats, *, highest: bool) -> Floats:
    """`values` without its highest or its lowest."""
    return np.delete(values, int(np.argmax(values) if highest else np.argmin(values)))
