"""What the probe says of a boundary: how the loss of one and the same batch changed while no weight was updated.

The probe evaluates a fixed batch after the last update of an epoch (t0) and before the first of the next (t1). In between
nothing should change: what does is a weight, a buffer or a running statistic that somebody touched.
"""

from __future__ import annotations

import math

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.jump_part import Part
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Run


def model_touched(run: Run, boundary: Boundary, *, least: float = 1e-4) -> Part:
    """Loss of the probe's batch of training samples at t1 less that at t0, in the mode in which the training goes on.

    Args:
        run: the run.
        boundary: the probes beside it count.
        least: change, as a part of the loss, below which the model is as it was.
    """
    train = run.float("train_mode")[boundary.batch] if boundary.batch < len(run) else math.nan
    name = "train_eval" if train == 0 else "train_batchstat"
    looks = [event for event in run.events if event.kind == "probe" and event.batch == boundary.batch]
    ends = [event.fields for event in looks if event.fields.get("when") == "t0"]
    begins = [event.fields for event in looks if event.fields.get("when") == "t1"]
    if not ends or not begins or begins[-1].get("updates") != ends[-1].get("updates"):
        return Part(None)
    before, after = ends[-1].get(name), begins[-1].get(name)
    if before is None or after is None or not math.isfinite(before) or not math.isfinite(after):
        return Part(None)
    if abs(after - before) <= least * max(abs(before), abs(after)):
        return Part(None, f"Probe: the model is as it was, the loss of a fixed batch stays at {number(before)}.")
    moved = f"from {number(before)} to {number(after)} without an update"
    return Part(after - before, f"Model touched: by the probe, the loss of a fixed batch goes {moved}.")
