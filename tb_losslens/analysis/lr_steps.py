"""Where the learning rate changes at once, against how it changes around there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.stats import Floats
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class LrStep:
    """One sudden change of the LR of a parameter group.

    Attributes:
        row: first row with the new LR.
        before, after: the two LRs.
        column: "lr" or "lr.1", ...: the group that changes most.
        boundary: index of the boundary that it lies at (its row or the next), None inside an epoch.
        back: the new LR was there before, and a lower one came in between.
        initial: the new LR is the one of the first row.
        warm_up: it belongs to a rise that begins with the run.
    """

    row: int
    before: float
    after: float
    column: str
    boundary: int | None
    back: bool = False
    initial: bool = False
    warm_up: bool = False

    @property
    def ratio(self) -> float:
        """New LR over old; infinite from 0."""
        return self.after / self.before if self.before > 0 else math.inf


def lr_steps(context: Context, *, least_ratio: float = 1.1, beyond: float = 3.0, near: int = 5) -> list[LrStep]:
    """Sudden changes of the LR, in order.

    Args:
        context: the run and its measurement.
        least_ratio: smallest change, up or down, as a factor.
        beyond: its logarithm must exceed that of all changes nearby this many times, so that no part of a smooth
            schedule counts, however steep.
        near: rows on either side that are nearby.
    """
    found: dict[int, LrStep] = {}
    at = {b.batch: b.index for b in context.boundaries}
    for column in lr_columns(context.run):
        lr = filled(context.run.float(column))
        if not np.isfinite(lr).any() or np.nanmax(lr) <= 0:
            continue
        floor = 1e-3 * float(np.nanmax(lr))  # below it the LR is as good as 0, and its logarithm says nothing
        move = np.concatenate([[0.0], np.diff(np.log(np.maximum(lr, floor)))])
        move = np.where(np.isfinite(move), move, 0.0)
        move[[gap.row for gap in context.run.gaps if gap.row < len(move)]] = 0.0  # what happened in between is unknown
        warm = _warm_up_end(context, lr)
        for row in _sudden(move, math.log(least_ratio), beyond, near).tolist():
            boundary = at.get(row, at.get(row - 1))
            step = LrStep(row, float(lr[row - 1]), float(lr[row]), column, boundary, *_level(lr, row), row <= warm)
            known = found.get(row)
            if known is None or abs(math.log(max(step.ratio, 1e-9))) > abs(math.log(max(known.ratio, 1e-9))):
                found[row] = step
    return [found[row] for row in sorted(found)]


def lr_columns(run: Run) -> list[str]:
    """Recorded LR columns: "lr", "lr.1", ..."""
    return [name for name in run.columns if (name == "lr" or name.startswith("lr.")) and run.has(name)]


def filled(lr: Floats) -> Floats:
    """The LR with unknown values taken from the row before (batches without an optimiser step)."""
    known = np.isfinite(lr)
    last = np.maximum.accumulate(np.where(known, np.arange(len(lr)), -1))
    out: Floats = np.where(last >= 0, lr[np.maximum(last, 0)], np.nan)
    return out


def _sudden(move: Floats, least: float, beyond: float, near: int) -> NDArray[np.int64]:
    """Rows whose |log change| is at least `least` and `beyond` times the largest of `near` neighbours on either side.

    Only neighbours in the same direction count: a schedule that falls steeply does not make a rise after it smooth.
    """
    candidates = np.flatnonzero(np.abs(move) >= least)
    padded = np.concatenate([np.zeros(near), move, np.zeros(near)])
    keep = []
    for row in candidates:
        around = padded[row : row + 2 * near + 1] * np.sign(move[row])
        around[near] = 0
        if abs(move[row]) > beyond * around.max():
            keep.append(row)
    return np.array(keep, dtype=np.int64)


def _level(lr: Floats, row: int, *, tolerance: float = 0.01) -> tuple[bool, bool]:
    """(the new level was there before a lower one, it is the first one of the run)."""
    new = lr[row]
    same = np.flatnonzero(np.abs(lr[:row] - new) <= tolerance * new)
    back = bool(len(same)) and bool(np.nanmin(lr[same[0] : row]) < (1 - tolerance) * new)
    return back, bool(abs(lr[0] - new) <= tolerance * new)


def _warm_up_end(context: Context, lr: Floats, *, early: float = 0.1, whole: float = 0.6, levels: int = 3) -> int:
    """Last row of a rise that begins within `early` of the run (or its second epoch) and takes several steps; else -1.

    A schedule that holds a lower LR first and then has the full one (`ConstantLR`, `SequentialLR`) may take a single step, and
    so may any rise at the first boundary or before.
    """
    down = np.flatnonzero(np.diff(lr) < 0)
    end = int(down[0]) if len(down) else len(lr) - 1
    rises = np.flatnonzero(np.diff(lr[: end + 1]) > 0) + 1
    if not len(rises):
        return -1
    second = context.epochs[2].first if len(context.epochs) > 2 else 0
    if rises[0] > max(early * len(lr), second) or rises[-1] > whole * len(lr):
        return -1
    scheduler = context.run.facts.get("scheduler")
    first = context.epochs[1].first if len(context.epochs) > 1 else 0
    if rises[-1] <= first:
        return int(rises[-1])
    holds = isinstance(scheduler, dict) and scheduler.get("class") in ("ConstantLR", "SequentialLR", "ChainedScheduler")
    return int(rises[-1]) if len(rises) >= levels - 1 or holds else -1
