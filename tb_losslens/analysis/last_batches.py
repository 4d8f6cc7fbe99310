"""The batches at the end of each epoch that are smaller than the others, and how their loss lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import excess
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.stats import Floats, mean, median, noise, rank_correlation
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
    """

    row: np.ndarray[tuple[int], np.dtype[np.int64]]
    size: Floats
    level: Floats
    off: Floats
    alike: Floats
    scaled: Floats


def last_batches(context: Context, usual: float, small: float, *, at_least: int = 5, part: float = 0.02) -> LastBatches:
    """Last batches below `small` of the `usual` size, against `part` of an epoch (at least `at_least` batches) before them."""
    run = context.run
    loss, sizes = run.loss, run.float("batch_size")
    m = max(at_least, round(part * float(np.median([len(epoch) for epoch in context.epochs]))))
    rows, level, sigma = [], [], []
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
    row_array, levels, sigmas = np.array(rows, dtype=np.int64), np.array(level), np.array(sigma)
    size = sizes[row_array]
    alike, scaled = sigmas * math.sqrt(1 + 1 / m), sigmas * np.sqrt(usual / size + 1 / m)
    return LastBatches(row_array, size, levels, loss[row_array] - levels, alike, scaled)


def is_sum(
    last: LastBatches,
    usual: float,
    *,
    samples: float,
    tolerance: float = 0.15,
    precise: float = 0.5,
    least_samples: int = 20,
    apart: float = 2.0,
) -> bool:
    """True if the last loss is n/N of the level before it, precisely enough to tell that from 1.

    Args:
        last: the last batches.
        usual: N.
        samples: how many different samples the last batches held, all together.
        tolerance: distance from n/N on a log scale.
        precise: spread over epochs, as a part of log(N/n).
        least_samples: a skewed loss makes most small batches lower than the mean; so many samples average that out.
        apart: standard errors of the mean over all those samples by which it must lie below the level.
    """
    fine = (last.level > 0) & (last.off + last.level > 0)
    if fine.sum() < 3 or fine.mean() < 0.9 or samples < least_samples:
        return False
    distance = np.log((last.off + last.level)[fine] / last.level[fine]) - np.log(last.size[fine] / usual)
    expected = abs(median(np.log(last.size[fine] / usual)))
    spread = 1.4826 * median(np.abs(distance - median(distance)))
    near = abs(median(distance)) <= min(tolerance + 2.5 * spread / math.sqrt(len(distance)), 0.5 * expected)
    below = -float((last.off[fine] / last.level[fine] * last.size[fine]).sum() / last.size[fine].sum())
    error = median(last.alike[fine] / last.level[fine]) * math.sqrt(usual / samples)
    return near and spread <= precise * expected and below >= apart * error


def gradient_of_last(run: Run, boundaries: Sequence[Boundary], *, before: int = 30) -> tuple[float, float, float]:
    """How large the gradient of the batch before each boundary is, and whether the jump after it follows.

    Returns:
        Root mean square over `boundaries` of its norm against the median of the `before` batches before it (what a step does
        to the loss goes with the square of its length); rank correlation of that ratio with the jump; its p-value. NaN, NaN,
        1 without gradients.
    """
    norm = run.float("grad_norm")
    usual = np.array([median(norm[max(0, b.batch - 1 - before) : b.batch - 1]) for b in boundaries])
    ratios = norm[[b.batch - 1 for b in boundaries]] / np.where(usual > 0, usual, np.nan)
    rank, p = rank_correlation(ratios, np.array([excess(b) for b in boundaries]))
    return math.sqrt(mean(ratios**2)), rank, p
