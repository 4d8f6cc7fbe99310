"""How much of the noise of the batch loss is that of which samples a batch drew, and how many would make it small.

The mean of n losses strays by the spread of single losses over sqrt(n). Where the losses of single samples were read, that
spread is known from within the batches, and the noise between batches can be held against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.known import by_turn
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


def share_of_sampling(run: Run, *, least: int = 30) -> tuple[float, int]:
    """(variance from batch to batch over that which the spread within the batches leads one to expect, batches read).

    1 where the batches are drawn at random and nothing else moves their loss. Both are means of squares over the same epochs,
    so that the same heavy tail is in both. (NaN, n) with fewer than `least` batches whose samples were read.
    """
    if not run.has("per_sample"):
        return math.nan, 0
    lists = run.ragged["per_sample"]
    count = np.diff(lists.offsets)
    here = np.flatnonzero((count > 1) & by_turn(run) & (count == run.float("batch_size")))
    expected = np.full(len(run), np.nan)
    among = within = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for row in here.tolist():
            expected[row] = np.var(np.asarray(lists[row], dtype=np.float64), ddof=1) / count[row]
        for epoch in run.epochs:
            one, changes = finite(expected[epoch.first : epoch.last]), finite(np.diff(run.loss[epoch.first : epoch.last]))
            if len(one) and len(changes):
                within += len(one) * float(one.mean())
                among += len(one) * float((changes**2).mean()) / 2
    known = len(here) >= least and within > 0 and math.isfinite(among) and math.isfinite(within)
    return (among / within if known else math.nan), len(here)
