"""Where a training is thrown off by its own updates: the loss leaves its level upwards, for good or for long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tb_losslens.analysis.bad_rows import first_nonfinite
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.divergence import diverged
from tb_losslens.analysis.finding import Finding
from tb_losslens.analysis.learned import learned
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.stats import Floats, mean, median, row_median
from tb_losslens.store.run import Run

MECHANISMS = ("missing_zero_grad", "input_shift", "target_shift", "wrong_mode", "lr_increase", "resume_discontinuity")
"""Causes that say why a loss rises: what follows from one of them is no cause of its own."""


@dataclass(frozen=True)
class BlowUp:
    """What became of the loss.

    Attributes:
        row: first row of the excursion, the batch after the update that led there.
        kind: "nonfinite" or "diverged" for good, "stuck" at what an output that knows nothing has, after an excursion, or
            "excursion" that lasts and comes back.
        before: level that the loss had, the lower one of the untrained output and of the batches right before.
        top: highest level that it reached over some batches; infinite where it is not finite.
        after: level at the end; NaN where it is not finite.
        length: batches for which it lay above 1.5 times `start`, or to the end.
        start: level of the untrained output.
        risen: a finite loss lies in the excursion: a loss that is NaN at once may be so for its data.
    """

    row: int
    kind: Literal["nonfinite", "diverged", "stuck", "excursion"]
    before: float
    top: float
    after: float
    length: int
    start: float
    risen: bool = True


def blow_up(
    run: Run, *, fold: float = 1.5, far: float = 5.0, long: int = 10, most: float = 0.05, large: int = 16, late: int = 20
) -> BlowUp | None:
    """The excursion that did harm; None without one.

    Levels are medians over 64 samples, three batches at least: a single high loss is no excursion, unless it is one of `far`
    in a batch of `large` samples.

    Args:
        run: with a loss.
        fold: times the level of the untrained output that an excursion reaches.
        far: the same at its top, where the run learns all the same, or in a single batch.
        long: batches for which it lasts then.
        most: part of the loss of the best constant that is gone at the end, up to which nothing was learned or kept.
        large: samples.
        late: batches after which something must have been learned that an excursion undoes, unless it is one of `far`.
    """
    loss = run.loss
    if len(loss) < 2 or not math.isfinite(loss[0]):
        return None
    known = learned(run)
    start = max(float(loss[0]), known.start if known is not None and known.constant else float(loss[0]))
    if not start > 0:
        return None
    levels = _levels(run)
    broken, gone = first_nonfinite(run), diverged(run)
    enough = run.float("batch_size") >= large
    above = (levels > fold * start) | (enough & (loss > far * start))
    end = known.last if known is not None else math.nan
    lasting = broken is not None and broken.lasting
    if lasting or gone is not None:
        if broken is not None and lasting:
            row = min(_onset(loss, fold * start, broken.row), len(loss) - 1)
        else:  # its batches may dip below the limit
            first = max(0, gone.row - 20) if gone is not None else 0
            row = first + int(np.argmax(loss[first:] > fold * start))
        top, after = (math.inf, math.nan) if lasting else (float(np.nanmax(levels)), end)
        kind: Literal["nonfinite", "diverged"] = "nonfinite" if lasting else "diverged"
        risen = bool(np.isfinite(loss[row:]).any())
        return BlowUp(row, kind, _before(loss, row, start), top, after, len(loss) - row, start, risen)
    if known is None or not above.any():
        return None
    row = int(np.flatnonzero(above)[0])
    row += int(np.argmax(loss[row:] > fold * start))
    highest = loss[above & enough] if (above & enough).any() else levels
    top, length, before = float(np.nanmax(highest)), int(above.sum()), _before(loss, row, start)
    stuck = known.constant and known.last > (1 - most) * known.start
    # of a loss that had never left the constant, a level of little more than that is a stretch of hard samples
    if stuck and (row <= late or mean(loss[row // 2 : row]) < (1 - most) * known.start or top > far * start):
        return BlowUp(row, "stuck", before, top, known.last, length, start)
    if float(np.nanmax(levels)) > far * start and length >= long:
        return BlowUp(row, "excursion", before, top, known.last, length, start)
    return None


@once_a_run
def harm_of(run: Run) -> BlowUp | None:
    """The same at the usual levels, for all that ask for it."""
    return blow_up(run)


def _before(loss: Floats, row: int, start: float) -> float:
    """Level right before `row`, or that of the untrained output if it is lower."""
    level = median(loss[max(0, row - 10) : row])
    return min(start, level) if math.isfinite(level) else start


def mechanism_before(context: Context, row: int) -> Finding | None:
    """A finding that says why the loss rises and begins at `row` or before; None without one.

    One that is proved and begins no more than an epoch before is taken for it, too, where no jump was measured to be explained.
    """
    step = int(context.run.step[min(row, len(context.run) - 1)])
    for outcome in context.earlier:
        if not isinstance(outcome, Finding) or outcome.kind not in ("fault", "planned"):
            continue
        data = outcome.cause == "bad_batch" and outcome.strength != "possible"
        if outcome.cause in MECHANISMS or data:
            begins = min(outcome.steps, default=min((context.boundaries[k].step for k in outcome.boundaries), default=step))
            sure = outcome.explains_jump or data
            if begins <= step and (sure or (outcome.strength == "proved" and _is_near(context, begins, row))):
                return outcome
        if outcome.cause == "incomplete_shuffle" and 0 in outcome.boundaries:
            return outcome  # it names boundaries, and is there from the first batch on
    return None


def _is_near(context: Context, step: int, row: int) -> bool:
    """True if `step` lies no more than an epoch before `row`."""
    at = int(np.searchsorted(context.run.step, step))
    return bool(context.epochs) and row - at <= max(map(len, context.epochs))


def _levels(run: Run, *, samples: int = 64) -> Floats:
    """Median of each batch and those after it, over so many samples, shape (n,)."""
    sizes = run.float("batch_size")
    size = median(sizes) if np.isfinite(sizes).any() else 1.0
    m = min(len(run), max(3, math.ceil(samples / max(1.0, size))))
    out = np.full(len(run), np.nan)
    out[: len(run) - m + 1] = row_median(np.lib.stride_tricks.sliding_window_view(run.loss, m))
    return out


def _onset(loss: Floats, limit: float, end: int) -> int:
    """The row after the last one before `end` whose loss is not above `limit`."""
    below = np.flatnonzero(loss[:end] <= limit)
    return int(below[-1]) + 1 if len(below) else 0
