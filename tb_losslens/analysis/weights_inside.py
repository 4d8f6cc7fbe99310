"""Weights that something else than the optimiser changed inside an epoch: they moved further than its step did."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.changes import restored_at
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.cuts import measure_rows
from tb_losslens.analysis.finding import Evidence, Finding, Kind
from tb_losslens.analysis.inside import open_shifts, rise_in_words, settings_within, size_of
from tb_losslens.analysis.shifts import Shift, back_after
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.text import number, times
from tb_losslens.store.run import Run

_WIDE = 0.01


def weights_inside(context: Context, cause: str, *, reach: int = 1, most: int = 3) -> list[Finding]:
    """One finding for each rise of the loss at which the weights are others than the step before left.

    The norm of the weights right before each step and the size of the step are of the same elements, so that from one row to
    the next the norm can change by the size of the step, and by no more. Asked are the rises that the loss itself shows, and
    the rows of which the norm says so: a rise that is gone after a few batches is found at these only.

    Args:
        context: the run and what was decided before.
        cause: id of the cause that reports it.
        reach: rows from that of the rise in which it must be.
        most: findings; weights that change more often by themselves are how a training is meant.
    """
    run = context.run
    if not (run.has("weight_norm") and run.has("update_ratio")):
        return []
    beyond = _beyond(run)
    out: dict[int, Finding] = {}
    for shift in open_shifts(context)[:most]:
        if settings_within(context, shift):
            continue  # parameters may be others
        rows = range(max(1, shift.row - reach), min(len(run), shift.row + reach + 1))
        row = next((row for row in rows if beyond[row] > 1), None)
        if row is not None:
            out[row] = _finding(context, cause, shift, row)
    swapped = context.found("weights_swapped")  # a validation that left them is the better name
    known = np.flatnonzero(np.isin(run.step, swapped.steps)) if swapped is not None else np.empty(0, dtype=np.int64)
    named = [row for row in np.flatnonzero(beyond > 1).tolist() if _is_inside(context, row)]
    for row in named if len(named) <= most else []:
        rise = _rise_at(context, row)
        if row not in out and rise is not None and not (abs(known - row) <= reach).any():
            out[row] = _finding(context, cause, rise, row)
    return [out[row] for row in sorted(out)]


def _beyond(run: Run, *, room: float = 1.5) -> Floats:
    """Change of the norm up to the step of each row, over `room` times what the step before can make of it, shape (n,).

    NaN where it is not known, and where batches are missing before the row.
    """
    norm, ratio = run.float("weight_norm"), run.float("update_ratio")
    out = np.full(len(run), np.nan)
    before = norm[:-1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        out[1:] = np.where(before > 0, np.abs(norm[1:] - before) / (room * ratio[:-1] * before + _WIDE * before), np.nan)
    out[[gap.row for gap in run.gaps if gap.row < len(run)]] = np.nan
    return np.where(np.isfinite(out), out, np.nan)


def _is_inside(context: Context, row: int) -> bool:
    """True for a row inside an epoch of one process in which no setting was changed: its parameters are those before it."""
    run = context.run
    epoch = next((e for e in context.epochs if e.first < row < e.last), None)
    if epoch is None or int(run.step[row]) in {session.get("first_step") for session in run.sessions[1:]}:
        return False
    first, last = np.searchsorted(run.config_changes[0], (epoch.first + 1, epoch.last + 1))
    return bool(first == last)


def _rise_at(context: Context, row: int, *, clear_z: float = 3.0) -> Shift | None:
    """The rise of the loss at a row that was named before one looks at the loss; None where it is not known to rise there.

    Two windows agree that it is more than `clear_z` standard deviations of what cuts around show, and more than each of these.
    """
    run = context.run
    epochs = [epoch.first for epoch in context.epochs]
    reach = max((len(epoch) for epoch in context.epochs), default=0)
    cut = measure_rows(run.loss, [row], reach=reach, others=epochs, clear_z=clear_z)[0]
    if not (cut.clear and min(cut.jump, cut.excess) > 0):
        return None
    before, after = (float(side.mean()) for side in (run.loss[row - cut.m : row], run.loss[row : row + cut.m]))
    return Shift(row, cut.m, before, after, cut.z, back_after(run.loss, row, cut.m, before))


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
