"""What came, by the mix of classes or of data sources: what each of them adds to the loss is fitted to other batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.jump_part import Part
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.mix import class_shares
from tb_losslens.analysis.resample import Draws
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.tails import f_sf
from tb_losslens.analysis.text import p_value, percent, plural
from tb_losslens.analysis.windows import usual_size, windows
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Mixed:
    """How a part by class or by source is called: the part, one of the kinds of data, several, and what they are a mix of."""

    part: str
    kinds: str
    mix: str


CLASSES = Mixed("Which samples", "classes", "class mix")
SOURCES = Mixed("Which source", "sources", "mix of sources")


def _source_shares(run: Run, first: int, last: int, *, most: int = 64) -> Floats:
    """Each batch comes from one source: a table of 0 and 1, shape (rows, sources), of the `most` frequent ones."""
    source = run.float("source")[first:last]
    names, count = np.unique(source[np.isfinite(source)], return_counts=True)
    kept = np.sort(names[np.argsort(-count, kind="stable")[:most]])
    table: Floats = (source[:, None] == kept[None, :]).astype(np.float64)
    return table


def by_mix(
    run: Run,
    boundary: Boundary,
    names: Mixed,
    *,
    rows_per_kind: int = 4,
    level: float = 0.01,
    most_rest: float = 0.05,
    most_placed: float = 0.5,
    most_new: float = 0.5,
    least_read: float = 0.8,
) -> Part:
    """Losses of the kinds by least squares of the batch loss on their shares, outside the windows, a line for each epoch."""
    epochs = run.epochs[boundary.index : boundary.index + 2]
    first, last = epochs[0].first, min(epochs[-1].last, boundary.batch + 20_000)
    first = max(first, boundary.batch - 20_000)
    share = class_shares(run, first, last) if names is CLASSES else _source_shares(run, first, last)
    known = share.sum(axis=1)

    def none(why: str) -> Part:
        return Part(None, f"{names.part}: {why}.")

    if not (known > 0).any() or known[known > 0].mean() < 1 - most_rest:
        return none(f"there are more {names.kinds} than were counted")
    loss, cut, m = run.loss[first:last], boundary.batch - first, boundary.m
    rows = np.arange(len(loss))
    outside = np.isfinite(loss) & ((rows < cut - m) | (rows >= cut + m)) & (known > 0) & by_turn(run)[first:last]
    kinds = share.shape[1]
    if not outside.any():
        return none(f"the {names.kinds} of too few batches were read here")
    if outside.sum() < rows_per_kind * kinds + 4 or kinds < 2:
        return none(f"{plural(int(outside.sum()), 'batch')} for {kinds} {names.kinds} are too few")
    after = (rows >= cut).astype(np.float64)
    line = np.stack([np.ones(len(rows)), after, rows / len(rows), after * rows / len(rows)], axis=1)
    placed = _explained(share[outside], line[outside])
    if placed > most_placed:
        return none(f"cannot be told from when they came; position predicts {percent(placed)} of the {names.mix}")
    fit = _fit(loss[outside], line[outside], share[outside])
    if fit.p > level:
        return none(f"makes no difference; the {names.mix} does not predict the loss ({p_value(fit.p)})")
    usual = usual_size(run, boundary)[first:last]
    sides = tuple(slice(side.start - first, side.stop - first) for side in windows(run, boundary))
    read = [(known[side] > 0)[usual[side]] for side in sides]
    if min(float(part.mean()) if len(part) else 0.0 for part in read) < least_read:
        return none(f"the {names.kinds} of too few batches were read here")
    usual &= known > 0
    before, came = (share[rows[side][usual[side]]].mean(axis=0) for side in sides)
    new = 0.5 * float(np.abs(came - before).sum())
    if new > most_new:  # a class of one side is then known from other batches only, where the model treated it otherwise
        return none(f"cannot be told from what the model forgot; {percent(new)} of the {names.mix} is new")
    part = percent(fit.part)
    note = f"{names.part}: from the {names.mix}, {part} of the variance of the loss ({p_value(fit.p)})."
    hard = np.where(usual, share @ fit.effect, np.nan)
    error = fit.error(came - before)

    def draws(drawn: Draws) -> Floats:
        return drawn.difference(hard[sides[0]], hard[sides[1]]) + drawn.normal(error)

    return Part(float((came - before) @ fit.effect), note, draws)


@dataclass(frozen=True)
class _Fit:
    """Effect of each kind on the loss beyond the line, p of the F test, part of the variance, and covariance of the effects."""

    effect: Floats
    p: float
    part: float
    covariance: Floats

    def error(self, direction: Floats) -> float:
        """Standard error of the effects along `direction`."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sqrt(max(0.0, float(direction @ self.covariance @ direction))))


def _explained(share: Floats, line: Floats) -> float:
    """Part of the variance of the shares, pooled over kinds, that epoch and position predict."""
    centred = share - share.mean(axis=0)
    basis, _ = np.linalg.qr(line)
    left = centred - basis @ (basis.T @ centred)
    total = float((centred**2).sum())
    return 1 - float((left**2).sum()) / total if total > 0 else 0.0


def _fit(loss: Floats, line: Floats, share: Floats) -> _Fit:
    basis, _ = np.linalg.qr(line)
    y = loss - basis @ (basis.T @ loss)
    x = share - basis @ (basis.T @ share)
    effect, _, rank, _ = np.linalg.lstsq(x, y, rcond=1e-8)
    total, left = float(y @ y), float(((y - x @ effect) ** 2).sum())
    free = len(y) - line.shape[1] - int(rank)
    if rank == 0 or free < 1 or total <= 0:
        return _Fit(effect, 1.0, 0.0, np.zeros((len(effect), len(effect))))
    f = max(total - left, 0.0) / rank / max(left / free, 1e-300)
    with np.errstate(over="ignore"):
        covariance = left / free * np.linalg.pinv(x.T @ x, rcond=1e-10, hermitian=True)
    return _Fit(effect, float(f_sf(f, rank, free)), max(0.0, 1 - left / total), covariance)
