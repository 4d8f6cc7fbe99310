"""Whether the position of a batch in its epoch tells what is in it.

In a shuffled epoch the batches are exchangeable: whatever is measured of a batch (its class mix, its mean target), blocks
of neighbouring batches differ no more than single batches do. That is tested by an analysis of variance between blocks
within each epoch. The size of the effect is how far the blocks lie from the whole epoch, less what chance does: 0.5 if each
half of the epoch has classes of its own, up to 1 for data sorted by class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.mix import class_shares
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.tails import f_sf
from tb_losslens.analysis.text import p_value
from tb_losslens.store.run import Epoch, Run


@dataclass(frozen=True)
class Content:
    """One property of the samples, batch by batch.

    Attributes:
        signal: name of the column.
        label: its name in a sentence.
        mean: shape (n, k): mean of the property over the samples of each batch (shares, for k classes).
        variances: shape (k,): variance of the property over single samples; NaN if unknown.
    """

    signal: str
    label: str
    mean: Floats
    variances: Floats


@dataclass(frozen=True)
class Position:
    """How far position tells content in one epoch.

    Attributes:
        effect: mean distance (see `apart`) of blocks of neighbours from the whole epoch, chance taken off.
        p: how often chance does as much.
        blocks: how many blocks, after which the p-value was lowest.
    """

    effect: float
    p: float
    blocks: int


def contents(run: Run) -> list[Content]:
    """What was recorded of the samples: class mix, target mean; in that order, possibly none."""
    out = []
    weight = sample_weights(run)
    if run.has("classes"):
        shares = known_shares(run)
        if shares.shape[1] > 1:
            known = np.isfinite(shares).all(axis=1) & (weight > 0)
            part = np.average(shares[known], axis=0, weights=weight[known]) if known.any() else shares[0]
            out.append(Content("classes", "class mix", shares, np.clip(part * (1 - part), 0.0, None)))
    if run.has("target_mean"):
        mean, inner = run.float("target_mean"), run.float("target_std")
        spread = float(np.nanmean(inner**2) + np.nanvar(mean)) if np.isfinite(inner).any() else math.nan
        out.append(Content("target_mean", "mean target", mean[:, None], np.array([spread])))
    return out


def sample_weights(run: Run) -> Floats:
    """Samples of each batch, shape (n,); 1 for every batch where no size is known, else 0 where it is unknown."""
    sizes = run.float("batch_size")
    known = np.isfinite(sizes) & (sizes > 0)
    return np.where(known, sizes, 0.0) if known.any() else np.ones(len(sizes))


def known_shares(run: Run, *, most: int = 32) -> Floats:
    """Share of each of the `most` frequent classes in every batch, shape (n, k); NaN for batches of unknown classes."""
    shares = class_shares(run, 0, len(run), most=most)
    return np.where(shares.sum(axis=1, keepdims=True) > 0, shares, np.nan)


def position_effect(content: Content, weight: Floats, epoch: Epoch, *, block_counts: Sequence[int] = (6, 24)) -> Position:
    """Tests one epoch; effect 0 and p 1 where it is too short or nothing varies.

    The p-value is that of F with degrees of freedom scaled by the effective number of independent columns
    `(tr S)^2 / tr S^2` (Satterthwaite), corrected for the number of block counts tried.
    """
    rows = slice(epoch.first, epoch.last)
    values, weights = content.mean[rows], weight[rows]
    fine = np.isfinite(values).all(axis=1) & (weights > 0)
    values, weights = values[fine], weights[fine]
    n = len(values)
    best = Position(0.0, 1.0, 0)
    if n < 2 * min(block_counts):
        return best
    values = values - np.average(values, axis=0, weights=weights)
    total = float((weights[:, None] * values**2).sum())
    if not total > 0:
        return best
    columns = _effective_columns(values * np.sqrt(weights)[:, None])
    tried = [count for count in block_counts if n >= 2 * count]
    for count in tried:
        block = np.arange(n) * count // n
        sums = np.stack([np.bincount(block, weights=weights * column, minlength=count) for column in values.T], axis=1)
        size = np.bincount(block, weights=weights, minlength=count)
        between = float((sums**2 / size[:, None]).sum())
        within = total - between
        ratio = (between / (count - 1)) / (within / (n - count)) if within > 0 else math.inf
        p = float(f_sf(ratio, columns * (count - 1), columns * (n - count))) * len(tried)
        far = apart(content, sums / size[:, None]) - _chance(content, values, size.astype(np.float64))
        effect = max(0.0, float(np.average(far, weights=size)))
        if p < best.p or (p == best.p and effect > best.effect):
            best = Position(effect, min(1.0, p), count)
    return best


def apart(content: Content, move: Floats) -> Floats:
    """Distance for a move of the mean, shape (r, k) -> (r,): 0 for none, 1 for no class in common or one sd of the samples.

    Total variation for classes; else in standard deviations of single samples (of batches where those are unknown).
    """
    if content.signal == "classes":
        return np.asarray(0.5 * np.abs(move).sum(axis=1), dtype=np.float64)
    spread = float(content.variances.sum())
    scale = math.sqrt(spread) if spread > 0 else float(np.nanstd(content.mean)) or 1.0
    return np.asarray(np.abs(move).sum(axis=1) / scale, dtype=np.float64)


def chance_apart(content: Content, samples: float) -> float:
    """Distance that two groups of so many random samples have by chance, on average."""
    pooled = math.sqrt(2 / math.pi) * math.sqrt(2 / max(samples, 1.0))
    if content.signal == "classes":
        return 0.5 * pooled * float(np.sqrt(content.variances).sum())
    return pooled


def _chance(content: Content, values: Floats, size: Floats) -> Floats:
    """Mean distance of blocks of `size` random samples from their epoch, of batches `values` less its mean."""
    # without a variance of the samples, that of the batches times their size stands for it
    each = float(size.sum()) / len(values)
    spread = np.where(np.isfinite(content.variances), content.variances, each * values.var(axis=0))
    left = np.clip(1 - size / size.sum(), 0, None)
    return apart(content, math.sqrt(2 / math.pi) * np.sqrt(spread[None, :] / size[:, None] * left[:, None]))


def _effective_columns(values: NDArray[np.float64]) -> float:
    """Number of independent columns that would vary as much together: (tr S)^2 / tr S^2."""
    matrix = values.T @ values
    square = float((matrix**2).sum())
    return float(np.trace(matrix)) ** 2 / square if square > 0 else 1.0


def sorted_content(run: Run, epochs: Sequence[Epoch], *, least_effect: float = 0.06, level: float = 1e-3) -> str:
    """What of the samples depends on the position in the epoch, as a clause, or ""."""
    weight = sample_weights(run)
    for content in contents(run):
        found = [position_effect(content, weight, epoch) for epoch in epochs]
        effect = median(np.array([p.effect for p in found]))
        p = median(np.array([p.p for p in found]))
        if effect >= least_effect and p < level:
            return f"position in the epoch tells the {content.label} ({p_value(p)})"
    return ""
