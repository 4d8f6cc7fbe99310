"""Whether a training came to harm: its loss stops being a number, or ends far above where it was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.bad_rows import first_nonfinite
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.stats import Floats, finite, median, noise, row_median
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Divergence:
    """A loss that leaves its level upwards for good.

    Attributes:
        row: first row of the part that stays above.
        before: level that it had.
        after: median over the last batches; NaN where it is not finite.
    """

    row: int
    before: float
    after: float


def diverged(
    run: Run, *, start: int = 20, fold: float = 3.0, sigmas: float = 10.0, samples: int = 32, far: float = 100.0
) -> Divergence | None:
    """The loss ends far above where it began, or not finite for good; None if it does not.

    Far is `fold` - 1 times the size of the median of the first `start` batches (of an eighth of the run, if that is shorter)
    above it, and `sigmas` of their noise in any case; or `far` times that of the first `samples` samples (5 batches, if sizes
    are unknown or small), where it rises so fast that `start` batches tell nothing of its level. The last eighth, block by
    block, must lie above that level.
    """
    broken = first_nonfinite(run)
    loss = run.loss
    first = median(loss[:start])
    if broken is not None and broken.lasting:
        return Divergence(broken.row, first, math.nan)
    size = min(start, len(loss) // 8)
    if size < 5:
        return None
    first, sigma = median(loss[:size]), noise(loss[: 4 * size])
    blocks = _blocks(loss, size)
    tail = blocks[-max(1, len(blocks) // 8) :]
    last = median(loss[-size:])
    limit = first + sigmas * sigma
    limit = max(limit, first + (fold - 1) * abs(first))  # a negative loss that rises to 0 has come to nothing, not to harm
    size_of_first = float(run.float("batch_size")[0])
    some = math.ceil(samples / size_of_first) if size_of_first > 0 else 5
    few = median(loss[: min(some, 5)])
    if few > 0 and far * few < limit:
        first, limit = few, far * few
    if not (math.isfinite(limit) and last > limit and (tail > limit).all()):
        return None
    below = np.flatnonzero(~(blocks > limit))
    return Divergence(int((below[-1] + 1) * size) if len(below) else 0, first, last)


def never_recovers(context: Context, row: int, *, window: int = 20, least: float = 0.5, sigmas: float = 5.0) -> float | None:
    """Level at the end of a run that rose at `row` and never came back; NaN if it is not finite there, None if it came back.

    Back is a median of `window` batches, anywhere after `row`, that has lost `least` of the rise to the highest such median, or
    lies within `sigmas` standard errors of the level before.
    """
    loss = context.run.loss
    before = median(loss[max(0, row - window) : row])
    later = loss[row:]
    if not len(finite(loss[-window:])):
        return math.nan
    if len(later) < 2 * window or not math.isfinite(before):
        return None
    blocks = _blocks(later, window)
    top = float(np.nanmax(blocks))
    limit = max(before + sigmas * context.noise / math.sqrt(window), top - least * (top - before))
    limit = min(limit, before + 0.5 * abs(before) + sigmas * context.noise / math.sqrt(window))
    peak = int(np.nanargmax(blocks))
    after = blocks[peak:]
    last = median(loss[-window:])
    return last if last > limit and not (after < limit).any() else None


def ends_after(context: Context, rows: Sequence[int], end: int, *, epochs: int = 2) -> bool:
    """True if `end` comes after one of `rows`, within so many epochs: later it has another reason."""
    before = [row for row in rows if row <= end]
    length = int(np.median([len(epoch) for epoch in context.epochs])) if context.epochs else len(context.run)
    return bool(before) and end - max(before) <= epochs * length


def _blocks(loss: Floats, size: int) -> Floats:
    """Medians of neighbouring blocks of `size`, the last rows included, shape (n // size,)."""
    count = len(loss) // size
    return row_median(loss[len(loss) - count * size :].reshape(count, size))
