"""How much of the noise of the batch loss is that of which samples a batch drew, and how many would make it small.

The mean of n losses strays by the spread of single losses over sqrt(n). Where the losses of single samples were read, that
spread is known from within the batches, and the noise between batches can be held against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.stats import Floats, finite, mean, median, noise
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class BatchNoise:
    """The noise of single batches, in units of the loss.

    Attributes:
        samples: in a batch, the median.
        noise: from batch to batch, the median over the blocks of the run.
        level: the loss of the later half of the blocks.
        learned: by how much the loss fell from its first batches to its last block; negative where it rose.
        error: of `learned`, standard error.
        pooled: noise of means of four neighbouring batches over that of one; half if each batch strays by itself.
    """

    samples: float
    noise: float
    level: float
    learned: float
    error: float
    pooled: float

    def needed(self, part: float) -> float:
        """Samples in a batch whose noise is `part` of the loss, or of what was learned where that is less."""
        least = part * min(self.learned, self.level)
        return self.samples * (self.noise / least) ** 2 if least > 0 else math.inf


def batch_noise_of(run: Run, *, blocks: int = 10, least: int = 12, first: int = 128) -> BatchNoise | None:
    """None with fewer than `least` batches in a block, or where a loss or the size of the batches is not known."""
    size, loss = run.float("batch_size"), run.loss
    samples = median(finite(size))
    if len(loss) < blocks * least or not samples >= 1 or not np.isfinite(loss).all():
        return None
    parts = np.array_split(loss, blocks)
    start = max(least, min(len(parts[0]), round(first / samples)))
    with np.errstate(over="ignore", invalid="ignore"):
        sigma = median(np.array([noise(part) for part in parts]))
        level = median(np.array([mean(part) for part in parts[blocks // 2 :]]))
        learned = mean(loss[:start]) - mean(parts[-1])
        error = sigma * math.sqrt(1 / start + 1 / len(parts[-1]))
        found = BatchNoise(samples, sigma, level, learned, error, _of_four(parts))
    return found if all(map(math.isfinite, (sigma, level, learned, error))) else None


def _of_four(parts: list[Floats]) -> float:
    """By squares of changes, which add up whatever the law of the losses is; the median over the blocks."""
    ratios = []
    for part in parts:
        one = float((np.diff(part) ** 2).mean())
        four = float((np.diff(part[: len(part) // 4 * 4].reshape(-1, 4).mean(axis=1)) ** 2).mean())
        ratios.append(math.sqrt(four / one) if one > 0 else math.nan)
    return median(np.array(ratios))


def share_of_sampling(run: Run, *, least: int = 30, near: int = 3) -> tuple[float, int]:
    """(variance from batch to batch over that which the spread within the batches leads one to expect, batches read).

    1 where the batches are drawn at random and nothing else moves their loss. Both are means of squares over the same epochs,
    so that the same heavy tail is in both, and at the same places of them: the spread goes with the level, and batches whose
    samples were read lie close together near the begin of an epoch, where the level is another one. The changes are those
    among the `near` batches on either side. (NaN, n) with fewer than `least` batches whose samples were read.
    """
    if not run.has("per_sample"):
        return math.nan, 0
    lists = run.ragged["per_sample"]
    count = np.diff(lists.offsets)
    here = np.flatnonzero((count > 1) & by_turn(run) & (count == run.float("batch_size")))
    expected = np.full(len(run), np.nan)
    among = within = 0.0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for row in here.tolist():
            expected[row] = np.var(np.asarray(lists[row], dtype=np.float64), ddof=1) / count[row]
        for epoch in run.epochs:
            spread = expected[epoch.first : epoch.last]
            rows = np.flatnonzero(np.isfinite(spread))
            between = _changes_near(run.loss[epoch.first : epoch.last], rows, near)
            known = np.isfinite(between)
            within += float(spread[rows[known]].sum())
            among += float(between[known].sum()) / 2
    enough = len(here) >= least and within > 0 and math.isfinite(among) and math.isfinite(within)
    return (among / within if enough else math.nan), len(here)


def _changes_near(loss: Floats, rows: Rows, near: int) -> Floats:
    """Mean square of the changes from batch to batch among `near` batches on either side of each of `rows`, as shape `rows`."""
    squares = np.diff(loss) ** 2
    at = rows[:, None] + np.arange(-near, near)
    known = (at >= 0) & (at < len(squares))
    if not len(squares):
        return np.full(len(rows), np.nan)
    values = np.where(known, squares[np.clip(at, 0, len(squares) - 1)], np.nan)
    known &= np.isfinite(values)
    out: Floats = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    return out
