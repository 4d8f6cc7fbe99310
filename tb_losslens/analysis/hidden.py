"""Batches whose loss or gradient is not finite although the curve that was logged is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.lost_gradient import not_finite
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run

Mask = NDArray[np.bool_]


def stepped(run: Run) -> Mask:
    """Batches in which an optimiser is known to have made a step, shape (n,)."""
    return np.asarray(np.isfinite(run.float("micro_batches")) | np.isfinite(run.float("opt_step")))


def bad_gradient(run: Run, *, least: int = 10) -> Mask:
    """Batches whose gradient is NaN or infinite as the step got it, shape (n,).

    Those of `not_finite`; and those of which neither norm is a number after a step, that of the gradient and that of the
    weights, where both were in `least` batches before and in each of them: then they were read. A gradient that is finite
    again at the step was repaired in between.
    """
    gradient, weights, made = run.float("grad_norm"), run.float("weight_norm"), stepped(run)
    bad = not_finite(run)
    looked = (run.float("dense") > 0) & made
    gone = np.flatnonzero(looked & ~np.isfinite(gradient) & ~np.isfinite(weights))
    if len(gone):
        before = looked[: gone[0]] & np.isfinite(gradient[: gone[0]]) & np.isfinite(weights[: gone[0]])
        if before.sum() >= least and before.sum() == looked[: gone[0]].sum():
            bad[gone] = True
    return np.asarray(bad & ~np.isfinite(run.float("grad_norm_at_step")))


def replaced(run: Run, *, rtol: float = 1e-4, most: float = 0.9) -> Rows:
    """Batches whose loss is not finite and for which a finite one was logged, in order.

    None where the gradient of such a batch is a number other than 0: what is minimised is another loss then, as one that
    leaves out samples without a target. Nor where the logged loss is not that of the batch in `most` of the others, unless
    every loss from some batch on is not finite.
    """
    loss, logged = run.loss, run.float("logged_loss")
    rows = np.flatnonzero(np.isfinite(logged) & ~np.isfinite(loss))
    both = np.isfinite(logged) & np.isfinite(loss)
    if not len(rows) or not both.any():
        return rows[:0]
    gradient = run.float("grad_norm")[rows]
    if (np.isfinite(gradient) & (gradient > 0)).any():
        return rows[:0]
    same = np.isclose(logged[both], loss[both], rtol=rtol, atol=0)
    lasting = not np.isfinite(loss[int(np.flatnonzero(both)[-1]) + 1 :]).any() and bool(rows[-1] >= len(run) - 2)
    return rows if same.mean() >= most or lasting else rows[:0]


def under_finite(run: Run, bad: Mask) -> tuple[Rows, Rows]:
    """(batches stepped with a gradient that is not finite, batches left out for it); this loss and the next are finite."""
    loss = run.loss
    shown = ~np.isfinite(np.append(loss[1:], np.nan))
    rows = bad & np.isfinite(loss) & ~shown
    made = stepped(run)
    skipped = np.append(run.float("amp_skipped")[1:], np.nan) == 1
    return np.flatnonzero(rows & made & ~skipped), np.flatnonzero(rows & (~made | skipped))


def mostly_left_out(run: Run, rows: Rows, bad: Mask, *, least: int = 10, part: float = 0.5) -> bool:
    """True if `part` of the last half of the batches whose gradient was read, `least` or more, had no step for it."""
    read = np.flatnonzero(bad | np.isfinite(run.float("grad_norm")))
    late = read[read >= len(run) // 2]
    count = int(np.isin(late, rows).sum())
    return count >= least and count > part * len(late)


def logged_as(run: Run, rows: Rows) -> str:
    """What was logged in the place of the loss, in words."""
    values = run.float("logged_loss")[rows]
    first, last = number(float(values.min())), number(float(values.max()))
    if values.min() == values.max():
        return f"as {first} each time" if len(rows) > 1 else f"as {first}"
    return f"as values from {first} to {last}"


def left_out_in_words(run: Run, rows: Rows, bad: Mask) -> str:
    """How many steps were left out for a gradient that is not finite, beside those that were read."""
    read = int((bad | np.isfinite(run.float("grad_norm"))).sum())
    scaler = " by the loss scaler" if run.has("amp_scale") else ""
    said = f"the gradient of {plural(len(rows), 'batch')} of {read:,} that were read ({percent(len(rows) / max(read, 1))})"
    return f"{said} is NaN or infinite, first at step {int(run.step[rows[0]]):,}, and the step was left out{scaler}"
