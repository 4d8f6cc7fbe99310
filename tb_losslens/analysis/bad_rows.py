"""Batches whose inputs or targets stand apart and whose loss shows it, and the first batch that is not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tb_losslens.analysis.class_mix import class_distance, improbable_mixes
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.orders import ids_in, recurring_ids, samples_behind
from tb_losslens.analysis.outliers import (
    Rows,
    allowed_by_size,
    away_from_usual,
    gap_by_chance,
    local_level,
    loss_level,
    spans,
    standing_apart,
    until_usual_again,
)
from tb_losslens.analysis.stats import Floats, finite, mean, median
from tb_losslens.analysis.tails import chi2_ppf
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class BadRows:
    """Batches that stand apart in one signal.

    Attributes:
        signal: its column.
        detail: "inputs" or "targets".
        rows: the batches, in order: those whose loss or gradient stands out too, or all that hold `ids`.
        quiet: the batches that stand apart without an effect, in order; none of them is in `rows`.
        ids: the few samples that account for all of them, in epoch after epoch; empty if there are none.
        apart: smallest distance among all of them, in robust standard deviations of all batches.
        next_largest: largest distance of the others.
    """

    signal: str
    detail: str
    rows: Rows
    quiet: Rows
    ids: tuple[int, ...]
    apart: float
    next_largest: float


def bad_rows(
    run: Run, *, least_effect: float = 4.0, few: float = 0.1, most: float = 0.25, least_epochs: int = 3
) -> list[BadRows]:
    """One element for each signal in which batches stand apart.

    Args:
        run: with a loss.
        least_effect: how far loss or gradient must stand out.
        few: part of all batches that may stand apart by itself.
        most: part that may where a few samples account for all of them: one bad sample spoils every batch that draws it.
        least_epochs: epochs in which such a sample must come.
    """
    weight = run.float("batch_size") if run.has("batch_size") else None
    loss, gradient = loss_distance(run), gradient_distance(run)
    shown = np.fmax(loss, gradient)
    turn = by_turn(run)  # batches that were read because their loss is high say nothing of how many there are
    found = []
    known_signals = _signals(run)
    for signal, detail, values in known_signals:
        distance = values if signal == "classes" else away_from_usual(values, weight)
        rows, ids = _apart(run, distance, most, least_epochs, tests=len(known_signals))
        if signal == "classes" and not len(rows):
            rows = improbable_mixes(run, distance, most)
            ids = recurring_ids(run, rows, least_epochs=least_epochs)
        if not len(rows):
            continue
        known = np.isfinite(distance)
        if detail == "inputs":
            rows = until_usual_again(rows, known)
            if not len(rows):
                continue
        if turn[rows].sum() > few * (known & turn).sum() and not (ids and _explain_all(run, rows, ids, np.flatnonzero(known))):
            continue
        # a model may adapt to a span within a batch or two, so its first batch may show it alone
        effect = partial(_effect, shown, loss, gradient)
        kept = [np.arange(a, b + 1) for a, b in spans(rows) if effect(a, b + 1) >= least_effect]
        bad = np.intersect1d(np.concatenate(kept), rows) if kept else rows[:0]
        if ids and (len(bad) or max(together(loss, rows), together(gradient, rows)) >= least_effect):
            bad = rows
        rest = float(np.nanmax(np.delete(distance, rows)))
        quiet = np.setdiff1d(rows, bad)
        found.append(BadRows(signal, detail, bad, quiet, tuple(ids), float(np.nanmin(distance[rows])), rest))
    return found


def _apart(
    run: Run, distance: Floats, most: float, least_epochs: int, *, tests: int = 1, chance: float = 0.01
) -> tuple[Rows, list[int]]:
    """(rows that stand apart, the few samples that account for them or []).

    A sample that comes in each of E epochs puts E rows far out and is one coincidence, so with ids the samples are counted:
    the tail of the others may expect E times as many rows as the mean of a Poisson law that gives so many samples by
    `chance`. That tail rests on few samples as well, so the gap must be as rare by what so few tell of it, in any of `tests`
    signals.
    """
    rows = standing_apart(distance, most=most, expected=chance)
    ids = recurring_ids(run, rows, least_epochs=least_epochs)
    if (len(rows) and not ids) or len(run.epochs) < least_epochs:
        return rows, ids
    for count in (1, 2, 3):
        mean_count = float(chi2_ppf(chance, 2 * count)) / 2  # of the Poisson law with P(count or more) = chance
        rows = standing_apart(distance, most=most, expected=mean_count * len(run.epochs))
        ids = recurring_ids(run, rows, least_epochs=max(least_epochs, math.ceil(0.75 * len(run.epochs))))
        if len(ids) >= count and tests * gap_by_chance(distance, rows, partial(samples_behind, run)) < chance:
            return rows, ids
    return rows[:0], []


def together(distance: Floats, rows: Rows, *, least: float = 1.0) -> float:
    """Median of `distance` at `rows` beyond that of the others, in its standard errors; 0 where it is below `least`."""
    here = finite(distance[rows])
    move = median(here) - median(np.delete(distance, rows))
    return move * math.sqrt(len(here)) / 1.2533 if move >= least else 0.0


def _effect(shown: Floats, loss: Floats, gradient: Floats, first: int, last: int, *, least: float = 2.0) -> float:
    """How far loss or gradient stand out at a span of batches that stand apart by something else.

    In the middle of them, at the first one, or all together: they were not chosen for it, so that several that lie a little
    above the others are none by chance.
    """
    rows = np.arange(first, last)
    joint = max(together(loss, rows, least=least), together(gradient, rows, least=least)) if len(rows) > 2 else 0.0
    return max(median(shown[first:last]), float(shown[first]), joint)


def _explain_all(run: Run, rows: Rows, ids: Sequence[int], known: Rows, *, part: float = 0.5) -> bool:
    """False if many more samples than `ids` come in `rows` only (of all `known`), as where whole batches are of another kind.

    Of single bad samples every other batch is like the rest, and next to no other sample comes with them alone.
    """
    inside = {i for row in rows.tolist() for i in ids_in(run, row, row + 1)}
    other = np.setdiff1d(known, rows).tolist()
    elsewhere = {i for row in other for i in ids_in(run, row, row + 1)}
    return len(inside - elsewhere - set(ids)) < part * len(inside | elsewhere) * len(rows) / len(known)


def _signals(run: Run) -> list[tuple[str, str, Floats]]:
    """(column, detail, values) of what is known of the samples; spreads as logarithms, class mixes as distances."""
    out = [("input_mean", "inputs", run.float("input_mean")), ("input_std", "inputs", _log(run.float("input_std")))]
    out += [("target_mean", "targets", run.float("target_mean")), ("target_std", "targets", _log(run.float("target_std")))]
    if run.has("classes"):
        out.append(("classes", "targets", class_distance(run)))
    return [signal for signal in out if np.isfinite(signal[2]).any()]


def _log(values: Floats) -> Floats:
    floor = 1e-6 * median(values)
    return np.asarray(np.log(np.maximum(values, floor)) if floor > 0 else values, dtype=np.float64)


@once_a_run
def loss_distance(run: Run) -> Floats:
    """How far each loss lies above those around it, in robust standard deviations for its batch size, shape (n,)."""
    return _above(run, run.loss, loss_level(run))


@once_a_run
def gradient_distance(run: Run) -> Floats:
    """The same for the logarithm of the gradient norm; -inf where it was not recorded."""
    norm = run.float("grad_norm")
    if not len(finite(norm)):
        return np.full(len(norm), -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(norm > 0, np.log(norm), np.nan)
    return _above(run, logs, local_level(logs))


def _above(run: Run, values: Floats, around: tuple[Floats, Floats]) -> Floats:
    level, sigma = around
    size = run.float("batch_size")
    usual = median(size)
    allowed = allowed_by_size(size, usual) if usual > 0 else None
    with np.errstate(invalid="ignore"):
        unit = np.maximum(sigma, 1e-4 * np.abs(level) + 1e-12)
        return np.asarray((values - level) / (unit if allowed is None else unit * allowed), dtype=np.float64)


@dataclass(frozen=True)
class NonFinite:
    """The first loss that is not finite.

    Attributes:
        row: where.
        inputs: non-finite elements of the inputs there; NaN if not recorded.
        grew: factor by which the loss had grown over the batches before.
        lasting: whether every later loss is not finite either.
    """

    row: int
    inputs: float
    grew: float
    lasting: bool


def first_nonfinite(run: Run, *, near: int = 3, before: int = 30, most_gaps: int = 3) -> NonFinite | None:
    """The first batch whose loss turned NaN or infinite; None without one.

    A NaN also stands for a loss that was not recorded: before the first known loss, in gaps that come again and again (more
    than `most_gaps`), and in the very last row, where a loop was interrupted. Those count only if the loss is infinite, or
    inputs or gradient of the batch are not finite either. `grew` compares the `near` batches right before it with the
    `before` batches before those.
    """
    loss = run.loss
    if np.isfinite(loss).all():
        return None
    known = np.flatnonzero(np.isfinite(loss))
    certain = np.isinf(loss) | (run.float("input_nonfinite") > 0) & ~np.isfinite(loss) | np.isinf(run.float("grad_norm"))
    bad = np.flatnonzero(~np.isfinite(loss))
    gaps = spans(bad, join=1)
    sure = np.flatnonzero(certain & ~np.isfinite(loss))
    if len(sure) == 0:
        first = int(known[0]) if len(known) else len(loss)
        gaps = [gap for gap in gaps if gap[0] > first and gap != (len(loss) - 1, len(loss) - 1)]
        if not gaps or len(gaps) > most_gaps:
            return None
    # what is certain may come late in a gap that began with it
    row = next((gap[0] for gap in gaps if gap[0] <= sure[0] <= gap[1]), int(sure[0])) if len(sure) else gaps[0][0]
    late, early = mean(loss[max(0, row - near) : row]), median(loss[max(0, row - near - before) : max(0, row - near)])
    grew = late / early if early > 0 and np.isfinite(late) else 1.0
    inputs = run.float("input_nonfinite")[row]
    return NonFinite(row, float(inputs), float(grew), bool(not np.isfinite(loss[row:]).any()))
