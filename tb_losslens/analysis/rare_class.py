"""The rare classes of a run: how few they are, what their samples lose, and how much of the batch loss follows their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.content import known_shares, sample_weights
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.loss_function import identity_codes
from tb_losslens.analysis.mix import class_names
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.stats import Floats, finite, median
from tb_losslens.analysis.tails import f_sf
from tb_losslens.store.run import Epoch, Run


@dataclass(frozen=True)
class Shares:
    """Classes of each batch.

    Attributes:
        signal: column that they come from.
        names: of the classes.
        part: shape (n, classes); NaN for batches that were not read.
        size: samples of each batch, shape (n,).
        single: each sample has one target; else its targets are tokens or pixels.
    """

    signal: str
    names: tuple[int, ...]
    part: Floats
    size: Floats
    single: bool = True

    @property
    def usual(self) -> Floats:
        """Share of each class in the run, shape (classes,)."""
        known = np.isfinite(self.part).all(axis=1) & (self.size > 0)
        return np.asarray(np.average(self.part[known], axis=0, weights=self.size[known]))

    def rare(self, least_part: float) -> NDArray[np.bool_]:
        """Which classes have less than this part of an even share, shape (classes,)."""
        usual = self.usual
        return np.asarray((usual > 0) & (usual < least_part / len(usual)))


@dataclass(frozen=True)
class Rare:
    """The rare classes over some epochs.

    Attributes:
        names: of these classes.
        share: of their samples among all.
        largest: share of the most frequent class.
        typical: mean share of one of them.
        batches: that were read.
        own, others: mean loss of their samples and of all others; NaN where unknown.
        measured: `own` and `others` are sums over single samples; else they follow from the slope.
        plain: the loss is measured so, or a known function of output and target without weights, in nearly all batches.
        explained: part of the variance of the batch loss within epochs that follows their number, 0 if more of them lower it.
        p: of that slope.
    """

    names: tuple[int, ...]
    share: float
    largest: float
    typical: float
    batches: int
    own: float
    others: float
    measured: bool
    plain: bool
    explained: float
    p: float

    @property
    def skew(self) -> float:
        """How many times as frequent the largest class is."""
        return self.largest / self.typical if self.typical > 0 else math.inf

    @property
    def harder(self) -> float:
        """How many times as much their samples lose."""
        return self.own / self.others if self.others > 0 else math.nan


def class_shares_of(run: Run, *, tolerance: float = 1e-3) -> Shares | None:
    """Of integer targets, or of floating ones that are all 0 or 1; None where neither was recorded.

    Numbers are 0 and 1 where their variance is m (1 - m) in every batch: no other numbers between 0 and 1 have as much.
    """
    size = sample_weights(run)
    if run.has("classes"):
        part = known_shares(run)
        lists = run.ragged["classes"]
        row = np.repeat(np.arange(len(lists)), np.diff(lists.offsets))
        counted = np.bincount(row, weights=np.asarray(lists.values).reshape(-1, 2)[:, 1], minlength=len(lists))
        counted += np.nan_to_num(run.float("class_rest"))
        known = (counted > 0) & (size > 0)
        single = run.has("batch_size") and bool((counted[known] <= size[known]).all())
        return Shares("classes", tuple(class_names(run)), part, size, single) if part.shape[1] > 1 else None
    mean, spread = run.float("target_mean"), run.float("target_std")
    known = np.isfinite(mean) & np.isfinite(spread)
    if not known.any() or not ((mean[known] >= 0) & (mean[known] <= 1)).all():
        return None
    apart = np.abs(spread[known] ** 2 - mean[known] * (1 - mean[known]))
    if (apart > tolerance).any() or not (spread[known] > 0).any():
        return None
    part = np.stack([1 - mean, mean], axis=1)
    return Shares("target_mean", (0, 1), np.where(known[:, None], part, np.nan), size)


def rare_classes(
    run: Run, shares: Shares, epochs: Sequence[Epoch], *, least_part: float, least_samples: int = 20
) -> Rare | None:
    """The classes that are rare, over these epochs; None without any, or where too few of their samples were read.

    Args:
        run: the run.
        shares: of its classes.
        epochs: the passes that are looked at.
        least_part: a class with a smaller part of an even share is rare.
        least_samples: of rare classes that must have been seen, or nothing can be said of their loss.
    """
    usual, rare = shares.usual, shares.rare(least_part)
    if not rare.any():
        return None
    known = np.isfinite(shares.part).all(axis=1) & np.isfinite(run.loss) & by_turn(run)
    known &= shares.size >= 0.5 * median(shares.size)  # the mean of a short last batch is a number of another kind
    rows = [epoch.first + np.flatnonzero(known[epoch.first : epoch.last]) for epoch in epochs]
    rows = [own for own in rows if len(own) > 2]
    every = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
    number = shares.part[:, rare].sum(axis=1)
    if not len(every) or float((number * shares.size)[every].sum()) < least_samples:
        return None
    x, y = (np.concatenate([_detrended(values[own]) for own in rows]) for values in (number, run.loss))
    explained, p, slope = _follows(x, y, free=len(x) - 2 * len(rows) - 1)
    share, level = float(np.average(number[every], weights=shares.size[every])), float(run.loss[every].mean())
    own, others = level + slope * (1 - share), level - slope * share
    names = tuple(name for name, is_rare in zip(shares.names, rare, strict=True) if is_rare)
    sums = class_sums(run, every, set(names))
    if sums is not None:
        own, others = sums
    identity = finite(identity_codes(run))
    plain = sums is not None or (len(identity) > 4 and bool((identity >= 0).mean() > 0.9))
    largest, typical = float(usual.max()), float(usual[rare].mean())
    return Rare(names, share, largest, typical, len(every), own, others, sums is not None, plain, explained, p)


def class_sums(run: Run, rows: Rows, names: set[int], *, least: int = 10) -> tuple[float, float] | None:
    """Mean loss of the samples of these classes and of all others, in these rows.

    None where fewer than `least` batches, or samples of either, were recorded.
    """
    lists = run.ragged.get("class_losses")
    if lists is None or len(lists) != len(run) or not len(lists.values):
        return None
    count, total, read = np.zeros(2), np.zeros(2), 0
    for row in rows.tolist():
        triples = np.asarray(lists[row], dtype=np.float64).reshape(-1, 3)
        read += len(triples) > 0
        inside = np.isin(triples[:, 0].astype(np.int64), list(names))
        for side, own in enumerate((inside, ~inside)):
            count[side] += triples[own, 1].sum()
            total[side] += triples[own, 2].sum()
    if read < least or (count < least).any() or not np.isfinite(total).all():
        return None
    return float(total[0] / count[0]), float(total[1] / count[1])


def _detrended(values: Floats) -> Floats:
    """Values of one epoch less the straight line through them."""
    place = np.linspace(-1, 1, len(values))
    return np.asarray(values - values.mean() - place * float((place * (values - values.mean())).sum() / (place**2).sum()))


def _follows(x: Floats, y: Floats, *, free: int) -> tuple[float, float, float]:
    """(part of the variance of y that x explains, its p, the slope); (0, 1, slope) where the slope is not positive."""
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if not xx > 0 or not yy > 0 or free < 1 or not math.isfinite(yy):
        return 0.0, 1.0, 0.0
    slope, part = xy / xx, min(1.0, xy**2 / xx / yy)
    if slope <= 0:
        return 0.0, 1.0, slope
    f = part * free / max(1 - part, 1e-12)
    return part, float(f_sf(f, 1, free)), slope


def weights_given(run: Run) -> str:
    """How the criterion weighs the classes, in words; "" where it does not."""
    criterion = run.facts.get("criterion")
    if isinstance(criterion, dict) and any(key.endswith("weighted") and value for key, value in criterion.items()):
        return "the criterion weighs its classes"
    for event in run.events:
        config = event.fields.get("config")
        if isinstance(config, dict):
            named = [k for k, v in config.items() if k.startswith("criterion") and k.endswith("weight") and v is not None]
            if named:
                return f"the {named[0]} is given"
    return ""
