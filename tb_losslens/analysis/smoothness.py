"""How much of each logged value was in the one before it: whether the curve can be that of single batches."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.loss_function import identity_codes
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.stats import MAD_TO_SIGMA, median, row_median
from tb_losslens.store.run import Run

BATCH_LOSS = "writer.log_batch(loss)"
"""The line that records the loss of each batch."""


def shared_with_before(run: Run, *, block: int = 24, least: int = 2, clip: float = 4.0) -> float:
    """The part of a value's noise that it shares with the value before, 0..1; 0 with fewer than `least` blocks of changes.

    Losses of single batches are drawn anew, so that neighbouring changes have a correlation of -1/2. Under an exponential mean
    `x_i = a x_(i-1) + (1 - a) u_i` it is -(1 - a) / 2, which gives a; under a mean of w values it is 0 for w > 2, which
    gives 1. Of each block of changes its median, which is the trend there, is taken off; they count in units of its own
    sigma and at most `clip` of it, so that no steep start and no spike decides.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        change = np.diff(run.loss)
    blocks = len(change) // block
    if blocks < least:
        return 0.0
    rows = change[: blocks * block].reshape(blocks, block)
    rows = rows[np.isfinite(rows).all(axis=1)]
    rows = rows - row_median(rows)[:, None]
    sigma = MAD_TO_SIGMA * row_median(np.abs(rows))[:, None]
    moves = sigma[:, 0] > 0
    if moves.sum() < least:
        return 0.0
    rows = np.clip(rows[moves] / sigma[moves], -clip, clip)
    together = float((rows[:, 1:] * rows[:, :-1]).mean())
    return float(np.clip(1 + 2 * together / float((rows**2).mean()), 0.0, 1.0))


@once_a_run
def usual_share(run: Run) -> float:
    """The same at the usual block, for all that ask for it."""
    return shared_with_before(run)


def may_be_smoothed(run: Run, *, least: float = 0.5, errors: float = 3.0) -> float:
    """`shared_with_before`, if it is `least` or more by `errors` standard errors; else 0.

    Of n independent values the share has a standard error of `2 sqrt(1 / 2n)` (Bartlett's formula for a lag-one correlation of
    -1/2). A loss from the criterion, or one that is known to follow from output and target, is that of the batch, however
    smooth: with batches as large as the data set nothing is drawn anew.
    """
    identity = run.float("loss_identity")
    if run.facts.get("loss_source") == "criterion" or median(identity) >= 0:
        return 0.0
    shared = usual_share(run)
    return shared if shared - errors * math.sqrt(2 / max(1, len(run))) >= least else 0.0


def begins_as_batch_loss(run: Run, *, least: int = 5, most: float = 0.8) -> bool:
    """True if the loss is a function of output and target at the first batch, and none at `least` others that were tested.

    So begins a mean, with the loss of one batch; that of an epoch may begin anew with it. Batches of half of the data and more
    hold the same samples, and share their noise without a mean.
    """
    codes = identity_codes(run)
    size, total = median(run.float("batch_size")), run.facts.get("dataset_size")
    if not len(run) or not codes[0] >= 0 or not (isinstance(total, int) and 2 * size <= total):
        return False
    first = run.float("index") == 0
    first[0] = True
    later = codes[~first & np.isfinite(codes)]
    # one of so many functions may give about the same number by chance
    return len(later) >= least and float((later < 0).mean()) >= most and not (later == codes[0]).any()
