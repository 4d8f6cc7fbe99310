"""Weights that something else than the optimiser changed inside an epoch: they moved further than its step did."""

from __future__ import annotations

import math

from tb_losslens.analysis.changes import restored_at
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence, Finding, Kind
from tb_losslens.analysis.inside import open_shifts, rise_in_words, settings_within, size_of
from tb_losslens.analysis.shifts import Shift
from tb_losslens.analysis.text import number, times
from tb_losslens.store.run import Run

_WIDE = 0.01


def weights_inside(context: Context, cause: str, *, reach: int = 1, most: int = 3) -> list[Finding]:
    """One finding for each rise of the loss at which the weights are others than the step before left.

    The norm of the weights right before each step and the size of the step are of the same elements, so that from one row to
    the next the norm can change by the size of the step, and by no more.

    Args:
        context: the run and what was decided before.
        cause: id of the cause that reports it.
        reach: rows from that of the rise in which it must be.
        most: findings.
    """
    run = context.run
    if not (run.has("weight_norm") and run.has("update_ratio")):
        return []
    out = []
    for shift in open_shifts(context)[:most]:
        if settings_within(context, shift):
            continue  # parameters may be others
        rows = range(max(1, shift.row - reach), min(len(run), shift.row + reach + 1))
        row = next((row for row in rows if _beyond(run, row) > 1), None)
        if row is not None:
            out.append(_finding(context, cause, shift, row))
    return out


def _beyond(run: Run, row: int, *, room: float = 1.5) -> float:
    """Change of the norm up to the step of `row`, over `room` times what the step before can make of it; NaN if unknown."""
    norm, ratio = run.float("weight_norm")[row - 1 : row + 1], float(run.float("update_ratio")[row - 1])
    before, now = float(norm[0]), float(norm[1])
    if not (math.isfinite(before) and math.isfinite(now) and math.isfinite(ratio)) or before <= 0:
        return math.nan
    return abs(now - before) / (room * ratio * before + _WIDE * before)


def _finding(context: Context, cause: str, shift: Shift, row: int) -> Finding:
    run, step = context.run, int(context.run.step[row])
    before, now = (float(value) for value in run.float("weight_norm")[row - 1 : row + 1])
    moved = float(run.float("update_ratio")[row - 1]) * before
    loaded = restored_at(run, row)
    kind: Kind = "planned" if loaded is not None else "fault"
    times_it = f", {times(abs(now - before) / moved)} the size of the update" if moved > 0 else ", without an update"
    since = f"between steps {int(run.step[row - 1]):,} and {step:,}"
    said = f"the norm of the weights goes from {number(before)} to {number(now)} {since}"
    rise = rise_in_words(shift)
    title = "Other weights were loaded inside an epoch" if loaded is not None else "The weights changed inside an epoch"
    return Finding(
        cause, kind, "proved", title,
        f"Before step {step:,}, inside an epoch, the weights changed outside of a step of the optimiser, and {rise}.",
        detail="weights_changed", score=0.9, steps=(step,),
        evidence=(
            Evidence(said + times_it, "weight_norm", (row - 1, row + 1)),
            *([Evidence("`load_state_dict` was called there")] if loaded is not None else []),
            size_of(shift),
        ),
        advice="Look at what runs in the loop before that step: callbacks, layers that are reset or grown, averaged weights, a "
        "checkpoint. If it is meant, note it.",
        fix=f'writer.note("weights changed", kind="config_change")     # right before step {step}, only if it is meant',
        confirm=f"Sum the parameters after the step before {step:,} and before this one: the sums must be equal.",
    )  # fmt: skip
