"""Batches whose inputs or targets stand apart and whose loss shows it, and the first batch that is not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.content import known_shares, sample_weights
from tb_losslens.analysis.lr_steps import lr_columns
from tb_losslens.analysis.outliers import Rows, away_from_usual, local_level, spans, standing_apart
from tb_losslens.analysis.stats import Floats, finite, mean, median
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class BadRows:
    """Batches that stand apart in one signal.

    Attributes:
        signal: its column.
        detail: "inputs" or "targets".
        rows: the batches, in order; their loss or gradient stands out too.
        apart: smallest distance among them, in robust standard deviations of all batches.
        next_largest: largest distance of the others.
    """

    signal: str
    detail: str
    rows: Rows
    apart: float
    next_largest: float


def bad_rows(run: Run, *, least_effect: float = 4.0) -> list[BadRows]:
    """One element for each signal that has such batches; `least_effect` is how far loss or gradient must stand out."""
    weight = run.float("batch_size") if run.has("batch_size") else None
    shown = np.fmax(loss_distance(run), gradient_distance(run))
    found = []
    for signal, detail, values in _signals(run):
        distance = values if signal == "classes" else away_from_usual(values, weight)
        rows = standing_apart(distance)
        if not len(rows):
            continue
        # a model may adapt to a span within a batch or two, so its first batch may show it alone
        kept = [np.arange(a, b + 1) for a, b in spans(rows) if max(median(shown[a : b + 1]), shown[a]) >= least_effect]
        bad = np.intersect1d(np.concatenate(kept), rows) if kept else rows[:0]
        if len(bad):
            rest = np.delete(distance, rows)
            found.append(BadRows(signal, detail, bad, float(distance[bad].min()), float(np.nanmax(rest))))
    return found


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


def class_distance(run: Run, *, least_count: float = 1.0) -> Floats:
    """How unlike the run the class mix of each batch is, in robust standard deviations, shape (n,).

    Pearson's chi-square of the batch against the shares of the whole run. Classes of which a batch would hold less than
    `least_count` samples are taken together, or one rare sample would count for much.
    """
    size = sample_weights(run)
    shares = known_shares(run)
    known = np.isfinite(shares).all(axis=1) & (size > 0)
    if shares.shape[1] < 2 or not known.any():
        return np.full(len(size), np.nan)
    usual = np.average(shares[known], axis=0, weights=size[known])
    common = usual * median(size[known]) >= least_count
    part = np.append(usual[common], max(0.0, 1 - float(usual[common].sum())))
    seen = np.column_stack([shares[:, common], 1 - shares[:, common].sum(axis=1)])
    kept = part > 1e-9
    chi = size * ((seen[:, kept] - part[kept]) ** 2 / part[kept]).sum(axis=1)
    # where most batches hold as many of a rare class, the spread between them collapses; drawn at random, the root of
    # chi-square has a standard deviation of at least 1/sqrt(2) times that of one free class
    out = away_from_usual(np.sqrt(chi), least=math.sqrt(0.5))
    return np.where(np.sqrt(chi) > median(np.sqrt(chi)), out, 0.0)  # a mix that is too even is no harm


def loss_distance(run: Run) -> Floats:
    """How far each loss lies above those around it, in robust standard deviations for its batch size, shape (n,)."""
    return _above(run, run.loss)


def gradient_distance(run: Run) -> Floats:
    """The same for the logarithm of the gradient norm; -inf where it was not recorded."""
    norm = run.float("grad_norm")
    if not len(finite(norm)):
        return np.full(len(norm), -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _above(run, np.where(norm > 0, np.log(norm), np.nan))


def _above(run: Run, values: Floats) -> Floats:
    level, sigma = local_level(values)
    size = run.float("batch_size")
    usual = median(size)
    allowed = np.sqrt(np.maximum(1.0, usual / size)) if usual > 0 else 1.0
    with np.errstate(invalid="ignore"):
        return np.asarray((values - level) / (np.maximum(sigma, 1e-4 * np.abs(level) + 1e-12) * allowed), dtype=np.float64)


def box_spans(
    run: Run,
    *,
    least: int = 5,
    most: float = 0.05,
    high: float = 10.0,
    flat: float = 0.3,
    drop: float = 0.6,
) -> list[tuple[int, int]]:
    """Spans (first, last) whose loss steps up from one batch to the next, stays, and steps down again as fast.

    Args:
        run: with a loss.
        least: batches in a span.
        most: part of the run that it may take.
        high: distance of each of its batches from the level around.
        flat: its lowest batch over its highest, both above the level.
        drop: part of its median height that the batches right before and after it lack.
    """
    distance = loss_distance(run)
    level, _ = local_level(run.loss)
    height = run.loss - level
    out = []
    for first, last in spans(np.flatnonzero(distance >= high), join=1):
        length = last - first + 1
        if length < least or length > most * len(distance) or first == 0 or last + 1 >= len(distance):
            continue
        inside = height[first : last + 1]
        beside = max(height[first - 1], height[last + 1])
        sharp = beside <= (1 - drop) * float(np.median(inside))
        if sharp and inside.min() >= flat * inside.max() and not _settings_change(run, first, last + 1):
            out.append((first, last))
    return out


def _settings_change(run: Run, first: int, after: int) -> bool:
    """True if LR or mode change at either end of the rows first..after - 1, or an epoch begins at both."""
    columns = [name for name in (*lr_columns(run), "train_mode") if run.has(name)]
    for name in columns:
        values = run.float(name)
        if any(abs(values[row] - values[row - 1]) > 0.05 * abs(values[row - 1]) for row in (first, after)):
            return True
    starts = {epoch.first for epoch in run.epochs}
    return first in starts and after in starts


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
