"""How long ago the samples of each batch were last seen, and whether their loss goes with it.

Under a new order in each epoch a sample of the first batches was last seen half an epoch ago on average, one of the last
batches an epoch and a half. Around that average the sampler draws the time, so what goes with it is no matter of the place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.sample_losses import slope_by_gap
from tb_losslens.analysis.sample_visits import count_of, visits
from tb_losslens.analysis.samples import MOST
from tb_losslens.analysis.stats import Floats, finite, median
from tb_losslens.analysis.tails import t_sf
from tb_losslens.analysis.whole import is_whole
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Revisits:
    """When the samples of a run were last seen.

    Attributes:
        gap: mean over the samples of each batch, in epochs, shape (n,); NaN where one of them is new or ids are missing.
        first, last: median over the epochs of its mean over the first and the last eighth of an epoch.
        again: part of the visits that are followed by one of the same sample in the same epoch.
    """

    gap: Floats
    first: float
    last: float
    again: float

    @property
    def apart(self) -> float:
        """By how much longer ago the last samples of an epoch were seen than the first, in epochs; NaN if unknown."""
        return self.last - self.first


@dataclass(frozen=True)
class GapEffect:
    """What a loss gains for each epoch since its samples were last seen.

    Attributes:
        slope, error: in units of the loss for an epoch, with its standard error.
        p: two-sided, that it is 0.
        count: losses that it rests on.
        single: they are losses of single samples, each against its batch and itself; else of batches, against their place.
    """

    slope: float
    error: float
    p: float
    count: int
    single: bool


def revisits(run: Run, *, most: int = 20_000_000, eighths: int = 8) -> Revisits | None:
    """Goes through the ids of all epochs; None for more than `most` visits, or where no sample comes again."""
    if not run.has("sample_ids") or not 0 < count_of(run) <= most or len(run.epochs) < 2:
        return None
    ragged = run.ragged["sample_ids"]
    ids = np.asarray(ragged.values[: ragged.offsets[-1]], dtype=np.int64)
    if ids.min() < 0 or ids.max() > 4 * len(ids):
        ids = np.unique(ids, return_inverse=True)[1].astype(np.int64)
    length = float(np.median([len(epoch) for epoch in run.epochs]))
    seen = np.full(int(ids.max()) + 1, -1, dtype=np.int64)
    visit = np.empty(len(seen), dtype=np.int64)
    gap, ends, again = np.full(len(run), np.nan), [], 0
    for epoch in run.epochs:
        bounds = ragged.offsets[epoch.first : epoch.last + 1]
        sizes, here = np.diff(bounds), ids[bounds[0] : bounds[-1]]
        row = np.repeat(np.arange(epoch.first, epoch.last), sizes)
        before = seen[here]
        seen[here], visit[here] = row, np.arange(len(here))
        again += int((visit[here] != np.arange(len(here))).sum())  # of several visits the last one stands there
        if not sizes.all() or not is_whole(run, epoch):
            continue
        ago = np.where(before >= 0, (row - before) / length, np.nan)
        gap[epoch.first : epoch.last] = np.add.reduceat(ago, bounds[:-1] - bounds[0]) / sizes
        part = max(1, len(epoch) // eighths)
        ends.append((_mean(gap[epoch.first : epoch.first + part]), _mean(gap[epoch.last - part : epoch.last])))
    known = np.array(ends).reshape(-1, 2)
    known = known[np.isfinite(known).all(axis=1)]
    return Revisits(gap, median(known[:, 0]), median(known[:, 1]), again / len(ids)) if len(known) else None


def gap_effect(run: Run, seen: Revisits) -> GapEffect | None:
    """From losses of single samples where enough were read, else from those of batches; None where neither tells."""
    if run.has("per_sample") and count_of(run) <= MOST:
        found = slope_by_gap(run, visits(run))
        if found is not None:
            return GapEffect(found.value, found.error, found.p, found.count, single=True)
    return _of_batches(run, seen.gap)


def _of_batches(run: Run, gap: Floats, *, least: int = 12, degree: int = 2) -> GapEffect | None:
    """Within each epoch a curve of the place, of `degree`, is taken out of gap and loss; epochs count by how quiet they are."""
    xs, ys, free, count = [], [], 0, 0
    for epoch in run.epochs:
        x, y = gap[epoch.first : epoch.last], run.loss[epoch.first : epoch.last]
        known = np.isfinite(x) & np.isfinite(y)
        if known.sum() < least:
            continue
        place = np.vander(np.linspace(-1, 1, len(x))[known], degree + 1)
        x, y = (v[known] - place @ np.linalg.lstsq(place, v[known], rcond=None)[0] for v in (x, y))
        spread = math.sqrt(float((y**2).mean()))
        if not math.isfinite(spread) or spread <= 0:
            continue
        xs.append(x / spread)
        ys.append(y / spread)
        free += len(x) - degree - 1
        count += len(x)
    if free < 10:
        return None
    x, y = np.concatenate(xs), np.concatenate(ys)
    square = float((x**2).sum())
    if not square > 0:
        return None
    slope = float((x * y).sum()) / square
    error = math.sqrt(float(((y - slope * x) ** 2).sum()) / (free - 1) / square)
    if not math.isfinite(slope) or not error > 0:
        return None
    return GapEffect(slope, error, float(2 * t_sf(abs(slope) / error, free - 1)), count, single=False)


def _mean(values: Floats) -> float:
    known = finite(values)
    return float(known.mean()) if 2 * len(known) >= len(values) else math.nan
