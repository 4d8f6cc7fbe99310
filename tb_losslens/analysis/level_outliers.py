"""Samples whose mean lies far above all others, epoch after epoch: from the highest, middle and lowest one of each batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.bad_rows import gradient_distance, loss_distance, together
from tb_losslens.analysis.content import sample_weights
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.orders import ids_in, samples_behind
from tb_losslens.analysis.outliers import Rows, gap_by_chance
from tb_losslens.analysis.stats import Floats, finite, median, rank_sum_p
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class HighSamples:
    """Samples that stand apart by their mean.

    Attributes:
        rows: batches, in order, whose highest sample is one of them.
        clean: batches without any, in order.
        ids: those that were the highest of some batch, sorted.
        level: their typical mean.
        usual: the typical mean of all samples.
        apart: how far the nearest of them lies above the middle of its batch, in what a clean batch spans on one side.
        others: the farthest that any sample else does.
        alike: largest over smallest distance, 5 % of them left aside on either end.
        epochs: in which they came.
        signal: the column that tells them; of "input_std" (see `wide_samples`) the above are spreads in the place of means,
            `apart` and `others` those of whole batches over the usual one.
    """

    rows: Rows
    clean: Rows
    ids: tuple[int, ...]
    level: float
    usual: float
    apart: float
    others: float
    alike: float
    epochs: int
    signal: str = "sample_level_max"


def high_samples(
    run: Run,
    *,
    least: float = 10.0,
    gap: float = 3.0,
    alike: float = 2.0,
    least_clean: int = 10,
    agree: float = 0.95,
    chance: float = 0.01,
) -> HighSamples | None:
    """Those samples, None without any that are sure.

    Args:
        run: the run.
        least: times what a batch spans on the side without them that they lie above its middle.
        gap: the nearest of them lies this many times as far as the farthest of all others.
        alike: where nearly no batch is without them, their distances differ by no more than this factor: a heavy tail has
            no gap to show there, and its largest values differ by more.
        least_clean: batches without them that show how far others lie.
        agree: part of the batches with such an id that must show it: else it is not the sample but the batch.
        chance: a gap that the tail of the others has by chance more often than this is none.
    """
    names = ("sample_level_max", "sample_level_median", "sample_level_min", "sample_level_at")
    high, middle, low, at = (run.float(name) for name in names)
    known = np.isfinite(high) & np.isfinite(middle) & np.isfinite(low) & by_turn(run)
    size = sample_weights(run)
    known &= size >= 0.5 * median(size)  # the middle of a few samples may be one of them
    rows = np.flatnonzero(known)
    above, below = (high - middle)[rows], (middle - low)[rows]
    span = median(np.minimum(above, below))
    if len(rows) < 40 or not span > 0:
        return None
    far = above / span
    lowest = float(np.quantile(below / span, 0.97))  # the middle of a batch may be one of them, where they are many
    limit, others = _gap(far, lowest, least=least, gap=gap, least_clean=least_clean)
    if not np.isfinite(limit):  # where inputs lie around zero, what is far out is so on either side
        limit, others = _gap(np.concatenate([far, below / span]), 0.0, least=least, gap=gap, least_clean=least_clean)
    sharp = np.isfinite(limit)
    if not sharp:
        limit, others = _all_alike(far, lowest, least=max(least, gap * lowest), alike=alike)
    if not np.isfinite(limit):
        return None
    is_high = far >= limit
    bad, clean = rows[is_high], rows[~is_high]
    distance = np.full(len(run), np.nan)
    distance[rows] = far
    if sharp and gap_by_chance(distance, bad, partial(samples_behind, run)) > chance:
        return None
    ids = _ids_at(run, bad, at)
    epochs = sum(bool(((bad >= epoch.first) & (bad < epoch.last)).any()) for epoch in run.epochs)
    if len(ids) < 2 or epochs < 2 or not _agree(run, rows, is_high, ids, agree):
        return None
    edges = np.quantile(far[is_high], (0.05, 0.95))
    return HighSamples(
        bad, clean, tuple(sorted(ids)), median(high[bad]), median(middle[rows]), limit, others,
        float(edges[1] / edges[0]), epochs,
    )  # fmt: skip


def _gap(far: Floats, below: float, *, least: float, gap: float, least_clean: int) -> tuple[float, float]:
    """(smallest distance of those apart, largest of the others); (NaN, NaN) without a gap. Both sides of a batch count."""
    order = np.sort(far)
    others = np.maximum(order[:-1], below)
    cut = np.flatnonzero((order[1:] >= least) & (order[1:] >= gap * others))
    if len(cut) and cut[0] + 1 >= least_clean:
        return float(order[cut[0] + 1]), float(others[cut[0]])
    return np.nan, np.nan


def _all_alike(far: Floats, below: float, *, least: float, alike: float) -> tuple[float, float]:
    """The same where nearly every batch holds one of them, all at one level; (NaN, NaN) where that is not so."""
    edges = np.quantile(far, (0.05, 0.95))
    if edges[0] >= least and edges[1] <= alike * edges[0]:
        return float(far[far >= least].min()), below
    return np.nan, np.nan


def _ids_at(run: Run, rows: Rows, at: Floats) -> set[int]:
    ids = run.ragged.get("sample_ids")
    if ids is None or len(ids) < len(run):
        return set()
    found = set()
    for row in rows.tolist():
        own, place = ids[row], at[row]
        if np.isfinite(place) and 0 <= place < len(own):
            found.add(int(own[int(place)]))
    return found


def _agree(run: Run, rows: Rows, is_high: NDArray[np.bool_], ids: set[int], part: float) -> bool:
    """True if nearly all batches that hold one of the ids are high, and some came in more than one."""
    holds = np.array([bool(ids & set(ids_in(run, row, row + 1))) for row in rows.tolist()])
    return bool(is_high[holds].mean() >= part) and int(holds.sum()) > len(ids)


def effect(
    run: Run, seen: HighSamples, *, level: float = 1e-3, most: float = 0.5, times: float = 1.5, sigmas: float = 4.0
) -> tuple[str, bool]:
    """(what their loss or gradient tells, whether it shows them).

    They are the samples with the largest loss in `most` of their batches, where one of n is by chance; or their batches stand
    out from those around them by `sigmas` standard errors all together; or loss or gradient is `times` that of the others,
    which chance does with probability `level`.
    """
    worst = run.float("sample_loss_max_id")
    read = [row for row in seen.rows.tolist() if np.isfinite(worst[row])]
    same = sum(int(worst[row]) in seen.ids for row in read)
    if len(read) >= 10 and same >= most * len(read):
        return f"one of them has the largest loss in {same:,} of {len(read):,} of their batches", True
    said = "loss and gradient of their batches are no larger than those of others, as far as both were read"
    if min(len(seen.rows), len(seen.clean)) < 5:
        return "the losses of single samples were not read, and too few batches are without them", False
    for name, label, distance in (("loss", "loss", loss_distance), ("grad_norm", "gradient norm", gradient_distance)):
        values, far = run.float(name), distance(run)
        far = np.where(np.isfinite(far), far, np.nan)
        here, rest = finite(values[seen.rows]), finite(values[seen.clean])
        if min(len(here), len(rest)) < 5 or not median(rest) > 0:
            continue
        more, p = median(here) / median(rest), rank_sum_p(here, rest)
        apart = together(far, seen.rows)
        if (p < level and more > times) or apart >= sigmas:
            known = f"the {label} of their batches is {number(median(here))}, that of the others {number(median(rest))}"
            return f"{known}, and {number(apart, 2)} standard errors above those around" if apart >= sigmas else known, True
    return said, False
