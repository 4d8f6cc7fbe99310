"""What is known of a rise of the loss inside an epoch: its size, and what changes at the same batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tb_losslens.analysis.change_at import change_at
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.lr_steps import filled, lr_columns
from tb_losslens.analysis.shifts import Shift, shifts
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, plural, signed
from tb_losslens.store.run import Run

INPUTS = ("input_mean", "input_std")
"""Signals of the inputs that a transform moves."""

OTHERS = ("batch_size", "train_mode", "target_mean", "target_std", "weight_norm", "input_relation")
"""Signals beside the inputs that say what changed; those that follow from a higher loss are not among them."""

_SEEN_WITHIN = "within an epoch"


def open_shifts(context: Context, *, reach: int = 5, rise_of_lr: float = 1.1) -> list[Shift]:
    """The rises inside epochs that no finding so far has a step at, without a boundary that jumps right beside, or a higher LR.

    Args:
        context: the run and what was decided before.
        reach: rows before and after the first one of a rise in which a finding accounts for it.
        rise_of_lr: as a factor, from the window before to that after.
    """
    run = context.run
    told = [step for o in context.earlier if isinstance(o, Finding) and o.kind != "benign" for step in o.steps]
    marked = np.flatnonzero(np.isin(run.step, told))
    out = []
    for shift in shifts(run):
        near = np.searchsorted(marked, (shift.row - reach, shift.row + shift.m + 1))
        beside = any(b.significant and abs(b.batch - shift.row) <= max(reach, b.m) for b in context.boundaries)
        if near[0] == near[1] and not beside and not _lr_rises(run, shift, rise_of_lr):
            out.append(shift)
    return out


def place_of(run: Run, step: int, end: str = "") -> str:
    """A step in words, and that it lies inside an epoch, closed by `end`; without known epochs it may be a boundary."""
    return f"step {step:,}, inside an epoch{end}" if run.epochs else f"step {step:,}"


def rise_in_words(shift: Shift) -> str:
    """From which level to which the loss goes, and whether it comes back."""
    came = "and it does not come back" if shift.back is None else f"and is back after {plural(shift.back, 'batch')}"
    return f"the loss goes from {number(shift.before)} to {number(shift.after)} ({signed(shift.jump)}), {came}"


def size_of(shift: Shift) -> Evidence:
    """The rise in numbers, where to look at it."""
    said = (
        f"the mean of {plural(shift.m, 'batch')} goes from {number(shift.before)} to {number(shift.after)} there, "
        f"{number(shift.z, 2)}× what cuts around it show"
    )
    return Evidence(said, "loss", (max(0, shift.row - 2 * shift.m), shift.row + 3 * shift.m))


def step_of(context: Context, shift: Shift) -> int:
    """The user's step of its first batch."""
    return int(context.run.step[shift.row])


def settings_within(context: Context, shift: Shift) -> dict[str, tuple[Any, Any]]:
    """Settings that were changed while the epoch of the rise was on, as [old, new] by name: seen at its end.

    Empty where the loss rises more than once in that epoch: nothing says at which of them it was.
    """
    run = context.run
    epoch = next((e for e in context.epochs if e.first <= shift.row < e.last), None)
    if epoch is None or sum(epoch.first <= one.row < epoch.last for one in shifts(run)) > 1:
        return {}
    rows, events = run.config_changes
    first, last = np.searchsorted(rows, (epoch.first + 1, epoch.last + 1))
    out: dict[str, tuple[Any, Any]] = {}
    for event in events[first:last]:
        changes = event.fields.get("changes")
        if event.fields.get("automatic") and event.fields.get("when") == _SEEN_WITHIN and isinstance(changes, Mapping):
            out.update({str(key): (pair[0], pair[1]) for key, pair in changes.items() if len(pair) == 2})
    return out


def signals_there(run: Run, shift: Shift, names: tuple[str, ...]) -> dict[str, str]:
    """The signals of `names` that take a step at the rise, each with a sentence."""
    return {name: said for name in names if (said := change_at(run, name, shift.row, shift.m))}


def comes_back(run: Run, name: str, shift: Shift) -> bool:
    """True if signal `name` is nearer to its median of all batches before the rise after it than right before it."""
    values = run.float(name)
    usual = median(finite(values[: shift.row]))
    before, after = values[max(0, shift.row - shift.m) : shift.row], values[shift.row : shift.row + shift.m]
    return abs(median(finite(after)) - usual) < abs(median(finite(before)) - usual)


def _lr_rises(run: Run, shift: Shift, factor: float) -> bool:
    for column in lr_columns(run):
        lr = filled(run.float(column))
        before, after = lr[max(0, shift.row - shift.m) : shift.row - 1], lr[shift.row : shift.row + shift.m]
        low, high = (float(np.nanmin(before)) if np.isfinite(before).any() else math.nan), _largest(after)
        if low >= 0 and high > factor * low:
            return True
    return False


def _largest(values: Any) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else math.nan
