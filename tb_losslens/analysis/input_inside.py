"""Inputs that become others for good inside an epoch where no boundary and no rise of the loss shows it."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.changes import planned_at
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.held_out import held_out_rises
from tb_losslens.analysis.input_levels import InputLevels
from tb_losslens.analysis.input_name import ADVICE, repair
from tb_losslens.analysis.input_step import input_step
from tb_losslens.analysis.inside import size_of
from tb_losslens.analysis.shifts import shifts
from tb_losslens.analysis.stats import Floats
from tb_losslens.store.run import Epoch, Run


def begun_inside(context: Context, seen: InputLevels, cause: str, *, least: float, near: int = 3) -> Finding | None:
    """The one batch inside an epoch from which on mean or spread of the inputs are others; None where there is none or several.

    The epoch in which it began is a mixture of both and is nearer to neither, so that no boundary beside it takes a clear step:
    the epochs on either side of it are compared. A net that normalises by the batch absorbs a scale and an offset, and its loss
    does not tell of them; the held-out data pay for it.

    Args:
        context: the run and its measurement.
        seen: levels of the inputs, epoch by epoch.
        cause: id of the cause that reports it.
        least: smallest move of the mean in spreads of the inputs, or of the logarithm of the spread.
        near: rows from that batch in which a rise of the loss is that of the inputs.
    """
    run, epochs = context.run, context.epochs
    if run.facts.get("inputs_of_loader") is False or not seen.unit > 0:
        return None  # what another network makes of the inputs moves as that learns
    found: dict[int, tuple[int, Evidence]] = {}
    for level, size in ((seen.means.middle, least * seen.unit), (seen.logs.middle, least)):
        for k in _candidates(level, size):
            if k in found:
                continue
            one = input_step(run, epochs[k - 1].first, epochs[k + 1].last)
            if one is not None and epochs[k].first < one[0] < epochs[k].last and _is_seen(run, one[0], epochs[k + 1]):
                found[k] = one
    if len(found) != 1:
        return None
    ((k, (row, said)),) = found.items()
    step = int(run.step[row])
    noted = planned_at(run, row)
    held_out = held_out_rises(run, row)
    evidence = [said, *([held_out] if held_out else [])]
    evidence += [Evidence(f"somebody noted the change: {noted.text or 'config_change'}")] if noted else []
    rise = next((one for one in shifts(run) if abs(one.row - row) <= near), None)
    evidence += [size_of(rise)] if rise is not None else []
    against = [] if rise is not None else [Evidence("the loss does not rise there beyond what cuts around show", "loss")]
    model = run.facts.get("model")
    if isinstance(model, dict) and model.get("batchnorm"):
        against.append(Evidence("the model normalises by the batch, which absorbs a scale and an offset"))
    return Finding(
        cause, "planned" if noted else "fault", "likely", "Inputs changed inside an epoch",
        f"The inputs change at step {step:,}, inside an epoch, and stay so: {said.split(' at step', maxsplit=1)[0]}.",
        score=0.7, steps=(step,), explains_jump=rise is not None, evidence=tuple(evidence), against=tuple(against),
        advice="Expected: compare the loss within each part of the run." if noted else ADVICE[""],
        fix="" if noted else repair(context, "", k - 1, step=step),
        confirm=f"Load the samples of one batch before and after step {step:,}: they must be equal.",
    )  # fmt: skip


def _is_seen(run: Run, row: int, after: Epoch, *, least: int = 10, later: int = 5) -> bool:
    """True if enough batches were read from `row` to the end of the epoch `after` it, and in that: few may be a bad span."""
    known = np.isfinite(run.float("input_mean"))
    return int(known[row : after.last].sum()) >= least and int(known[after.first : after.last].sum()) >= later


def _candidates(level: Floats, size: float) -> list[int]:
    """Epochs between two that differ by `size`, with all before nearer to the one and all after nearer to the other."""
    out = []
    for k in range(1, len(level) - 1):
        old, new = float(level[k - 1]), float(level[k + 1])
        if not abs(new - old) > size:
            continue
        early, late = level[:k], level[k + 1 :]
        with np.errstate(invalid="ignore"):
            stays = bool((np.abs(late - new) < np.abs(late - old))[np.isfinite(late)].all())
            was = bool((np.abs(early - old) < np.abs(early - new))[np.isfinite(early)].all())
        if stays and was:
            out.append(k)
    return out
