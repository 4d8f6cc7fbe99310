"""The batches at the end of each epoch that are smaller than the others, and how their loss lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import excess
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.stats import Floats, finite, mean, median, moving_mean, noise, rank_correlation
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class LastBatches:
    """The last batches that are small, one element for each.

    Attributes:
        row: their rows.
        size: samples in them.
        level: mean loss of the batches right before.
        off: loss less level.
        alike: standard deviation of `off` for a batch of full size.
        scaled: the same for a batch of its size.
        error: as `scaled`, from all that batches of the same epoch stray and not from their typical distance: losses are
            skewed, and what their rare high values add decides how far a mean of few samples may lie below.
    """

    row: np.ndarray[tuple[int], np.dtype[np.int64]]
    size: Floats
    level: Floats
    off: Floats
    alike: Floats
    scaled: Floats
    error: Floats


def last_batches(context: Context, usual: float, small: float, *, at_least: int = 5, part: float = 0.02) -> LastBatches:
    """Last batches below `small` of the `usual` size, against `part` of an epoch (at least `at_least` batches) before them."""
    run = context.run
    loss, sizes = run.loss, run.float("batch_size")
    m = max(at_least, round(part * float(np.median([len(epoch) for epoch in context.epochs]))))
    rows, level, sigma, whole = [], [], [], []
    for epoch in context.epochs:
        row = epoch.last - 1
        if len(epoch) <= m + 1 or not sizes[row] <= small * usual or not math.isfinite(loss[row]):
            continue
        strays = noise(loss[max(epoch.first, row - max(50, 4 * m)) : row])
        before = float(np.mean(loss[row - m : row]))
        if math.isfinite(before) and strays > 0:
            rows.append(row)
            level.append(before)
            sigma.append(strays)
            whole.append(max(strays, _all_strays(loss[max(epoch.first, row - max(100, 8 * m)) : row], m)))
    row_array, levels, sigmas = np.array(rows, dtype=np.int64), np.array(level), np.array(sigma)
    size = sizes[row_array]
    alike, few = sigmas * math.sqrt(1 + 1 / m), np.sqrt(usual / size + 1 / m)
    return LastBatches(row_array, size, levels, loss[row_array] - levels, alike, sigmas * few, np.array(whole) * few)


def _all_strays(loss: Floats, m: int) -> float:
    """Root mean square of each loss less the mean of the m before it, for one loss, shape (n,); 0 with too few."""
    means = moving_mean(loss, m)
    off = finite(loss[m:] - means[: max(len(loss) - m, 0)])
    return math.sqrt(float((off**2).mean()) / (1 + 1 / m)) if len(off) else 0.0


def is_sum(
    last: LastBatches,
    usual: float,
    *,
    samples: float,
    tolerance: float = 0.15,
    precise: float = 0.5,
    least_samples: int = 20,
    apart: float = 3.0,
) -> bool:
    """True if the last loss is n/N of the level before it, precisely enough to tell that from 1.

    Args:
        last: the last batches.
        usual: N.
        samples: how many different samples the last batches held, all together.
        tolerance: distance from n/N on a log scale.
        precise: spread over epochs, as a part of log(N/n).
        least_samples: a skewed loss makes most small batches lower than the mean; so many samples average that out.
        apart: standard errors by which all of them together must lie below the level.
    """
    fine = (last.level > 0) & (last.off + last.level > 0)
    if fine.sum() < 3 or fine.mean() < 0.9 or samples < least_samples:
        return False
    distance = np.log((last.off + last.level)[fine] / last.level[fine]) - np.log(last.size[fine] / usual)
    expected = abs(median(np.log(last.size[fine] / usual)))
    spread = 1.4826 * median(np.abs(distance - median(distance)))
    near = abs(median(distance)) <= min(tolerance + 2.5 * spread / math.sqrt(len(distance)), 0.5 * expected)
    part = last.off[fine] / last.level[fine]
    error = _together(last.error[fine] / last.level[fine], last.size[fine], samples)
    return near and spread <= precise * expected and -float(part.sum()) >= apart * error


@dataclass(frozen=True)
class Proportion:
    """The last losses over the levels before them, all epochs together.

    Attributes:
        ratio: sum of the last losses over the sum of the levels; a mean over the batch gives 1, a sum gives `if_sum`.
        error: its standard error if the loss is a mean.
        if_sum: n/N.
        lower: part of the epochs whose last loss lies below the level.
    """

    ratio: float
    error: float
    if_sum: float
    lower: float

    def is_sum(self, *, far: float = 3.0, near: float = 2.5, least_lower: float = 0.8) -> bool:
        """True if the ratio is `far` errors from 1 and within `near` errors of n/N (a sum has errors n/N times as large)."""
        if not math.isfinite(self.ratio) or not math.isfinite(self.error):
            return False
        close = abs(self.ratio - self.if_sum) <= near * self.error * self.if_sum + 0.1 * (1 - self.if_sum)
        return close and self.ratio <= 1 - far * self.error and self.lower >= least_lower

    def is_mean(self, *, far: float = 4.0, near: float = 2.5) -> bool:
        """True if the ratio agrees with 1 and is `far` errors from n/N."""
        known = math.isfinite(self.ratio) and math.isfinite(self.error)
        return known and abs(self.ratio - 1) <= near * self.error and self.ratio - self.if_sum >= far * self.error


def proportion(
    last: LastBatches, usual: float, *, samples: float, least_epochs: int = 5, least_samples: int = 20
) -> Proportion:
    """Weighs each epoch by its level, so that late losses near 0, which are mostly noise, count for little.

    The first epoch is left out where enough others remain: its loss falls too fast for the level before its end. NaN with
    fewer than `least_epochs` epochs, `least_samples` different samples, or a loss that is not positive.
    """
    kept = slice(1, None) if len(last.row) > least_epochs else slice(None)
    level, off, each, size = last.level[kept], last.off[kept], last.error[kept], last.size[kept]
    if_sum = median(last.size) / usual
    if len(level) < least_epochs or samples < least_samples or not (level > 0).all():
        return Proportion(math.nan, math.nan, if_sum, math.nan)
    total = float(level.sum())
    error = _together(each, size, samples) / total
    return Proportion(1 + float(off.sum()) / total, error, if_sum, float((off < 0).mean()))


def _together(each: Floats, size: Floats, samples: float) -> float:
    """Standard error of a sum with errors `each`; a batch of the same samples each time is one observation."""
    repeats = max(1.0, float(size.sum()) / samples)
    return math.sqrt(float((each**2).sum()) * repeats)


def gradient_of_last(
    run: Run, boundaries: Sequence[Boundary], *, before: int = 30, least: int = 5
) -> tuple[float, float, float]:
    """How large the gradient of the batch before each boundary is, and whether the jump after it follows.

    Returns:
        Root mean square over `boundaries` of its norm against the median of the `before` batches before it, of which `least`
        must be known (what a step does to the loss goes with the square of its length); rank correlation of that ratio with
        the jump; its p-value. NaN, NaN, 1 without gradients.
    """
    norm = run.float("grad_norm")
    near = [finite(norm[max(0, b.batch - 1 - before) : b.batch - 1]) for b in boundaries]
    usual = np.array([median(known) if len(known) >= least else math.nan for known in near])
    ratios = norm[[b.batch - 1 for b in boundaries]] / np.where(usual > 0, usual, np.nan)
    rank, p = rank_correlation(ratios, np.array([excess(b) for b in boundaries]))
    return math.sqrt(mean(ratios**2)), rank, p
