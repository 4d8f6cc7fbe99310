"""Samples that spread every batch that holds one of them far beyond the others: told apart by the batches that hold none."""

from __future__ import annotations

from functools import partial

import numpy as np

from tb_losslens.analysis.content import sample_weights
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.level_outliers import HighSamples
from tb_losslens.analysis.orders import ids_in, samples_behind
from tb_losslens.analysis.outliers import Rows, gap_by_chance
from tb_losslens.analysis.stats import median
from tb_losslens.store.run import Run


def of_two_spreads(run: Run, *, gap: float = 3.0, least: int = 10) -> tuple[Rows, Rows]:
    """(batches of the larger spread, those of the usual one); the first is empty where no gap lies between two such kinds."""
    spread, size = run.float("input_std"), sample_weights(run)
    rows = np.flatnonzero(np.isfinite(spread) & (spread > 0) & by_turn(run) & (size >= 0.5 * median(size)))
    order = np.sort(spread[rows])
    ratios = (order[1:] / order[:-1])[least - 1 : len(order) - least] if len(rows) >= 2 * least else order[:0]
    if not len(ratios) or ratios.max() < gap:
        return rows[:0], rows
    limit = float(order[least + int(ratios.argmax())])
    return rows[spread[rows] >= limit], rows[spread[rows] < limit]


def wide_samples(
    run: Run, *, gap: float = 3.0, least: int = 10, agree: float = 0.95, part: float = 0.5, chance: float = 0.01,
    innocent: float = 0.1,
) -> HighSamples | None:
    """Those samples, None without any that are sure.

    Inputs around zero have a mean near zero in any unit, so that only their spread tells. It is known of whole batches; which
    samples make it follows from all of them: a sample that ever came in a batch of the usual spread is none of them.

    Args:
        run: with sample ids.
        gap: the least spread with them is this many times the largest without.
        least: batches with and without them.
        agree: part of the batches with a large spread that hold one of the samples that are left.
        part: of a batch that may be such samples: else it is the batch, not the samples.
        chance: a gap that the tail of the others has by chance more often than this is none.
        innocent: samples that came in no batch of the usual spread by chance, as a part of those that are left, at most.
    """
    spread, size = run.float("input_std"), sample_weights(run)
    bad, clean = of_two_spreads(run, gap=gap, least=least)
    if not len(bad):
        return None
    rows = np.union1d(bad, clean)
    distance = np.full(len(run), np.nan)
    distance[rows] = spread[rows] / median(spread[clean])
    if gap_by_chance(distance, bad, partial(samples_behind, run)) > chance:
        return None
    held = [set(ids_in(run, row, row + 1)) for row in bad.tolist()]
    ids = _never_clean(run, held, clean, innocent)
    counts = np.array([len(ids & mine) for mine in held])
    epochs = sum(bool(((bad >= epoch.first) & (bad < epoch.last)).any()) for epoch in run.epochs)
    if len(ids) < 2 or epochs < 2 or (counts > 0).mean() < agree or median(counts / size[bad]) > part:
        return None
    usual = median(spread[clean])
    known = counts > 0
    own = np.sqrt((spread[bad] ** 2 - usual**2) * size[bad])[known] / np.sqrt(counts[known])
    edges = np.quantile(own, (0.05, 0.95))
    return HighSamples(
        bad, clean, tuple(sorted(ids)), median(own), usual, float(distance[bad].min()), float(np.nanmax(distance[clean])),
        float(edges[1] / edges[0]), epochs, "input_std",
    )  # fmt: skip


def _never_clean(run: Run, held: list[set[int]], clean: Rows, innocent: float) -> set[int]:
    """Samples that came twice and more, and in no batch of `clean`; none if too many of them may do so by chance."""
    visits: dict[int, int] = {}
    inside: set[int] = set()
    for row in clean.tolist():
        for i in set(ids_in(run, row, row + 1)):
            visits[i] = visits.get(i, 0) + 1
            inside.add(i)
    for mine in held:
        for i in mine:
            visits[i] = visits.get(i, 0) + 1
    left = {i for i, count in visits.items() if i not in inside and count > 1}
    high = len(held) / (len(held) + len(clean))
    by_chance = sum(high**count for count in visits.values())
    return left if by_chance <= innocent * len(left) else set()
