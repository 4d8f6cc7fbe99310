"""Where inside an epoch samples began to come back with another input, by how many of them did."""

from __future__ import annotations

import math

from tb_losslens.analysis.content import sample_weights
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.shifts import shifts
from tb_losslens.analysis.text import percent
from tb_losslens.analysis.whole import is_compared_in_part
from tb_losslens.store.run import Epoch, Run


def begun_at_rise(run: Run, epoch: Epoch, *, errors: float = 3.0, near: int = 2) -> tuple[int, Evidence] | None:
    """The row of the one rise of the loss inside `epoch`, if as many samples changed in that epoch as come from there on.

    Inputs that are given as integers have no level that tells the batch. Where all samples change from a batch on, the part of
    those that were compared and came back different is the part of the epoch that is left: if all of them were compared.

    Args:
        run: the run.
        epoch: with the fields `inputs_compared` and `inputs_changed`.
        errors: standard errors of that part in which the two must agree.
        near: batches that are added to it.
    """
    compared, changed = epoch.fields.get("inputs_compared"), epoch.fields.get("inputs_changed")
    inside = [one.row for one in shifts(run) if epoch.first < one.row < epoch.last]
    if not isinstance(compared, int) or not isinstance(changed, int) or not 0 < changed < compared or len(inside) != 1:
        return None
    if is_compared_in_part(epoch):
        return None
    row = inside[0]
    samples = sample_weights(run)
    whole = float(samples[epoch.first : epoch.last].sum())
    left, part = float(samples[row : epoch.last].sum()) / whole, changed / compared
    room = errors * math.sqrt(part * (1 - part) / compared) + near / len(epoch)
    if not abs(left - part) <= room:
        return None
    said = f"{percent(part)} of the samples of that epoch came back with another input, and {percent(left)} of it lie"
    return row, Evidence(f"{said} from step {int(run.step[row]):,} on, where the loss rises")
