"""Where a jump comes from: terms that add up to it exactly, each estimated from what was recorded, the rest left open.

The composition term is that of Kitagawa (1955): with the shares p of the classes in the windows before and after, and
their mean losses l, `J = sum (p1 - p0) (l0 + l1)/2 + sum (l1 - l0) (p0 + p1)/2`: what came, and how the model changed.
A term that cannot be estimated is left out and said in the note; it is then part of "not explained".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.finding import Boundary, Finding
from tb_losslens.analysis.known import by_turn, mostly_known
from tb_losslens.analysis.mix import class_shares
from tb_losslens.analysis.stats import Floats, mean
from tb_losslens.analysis.tails import f_sf
from tb_losslens.analysis.text import p_value, percent, plural
from tb_losslens.store.run import Epoch, Run

LABELS = {
    "lr_increase": "LR step",
    "lr_decrease": "LR step",
    "wrong_mode": "mode",
    "memorization": "seen before",
    "running_mean": "running mean",
    "input_shift": "other inputs",
    "target_shift": "other targets",
    "bad_batch": "bad batch",
    "repeated_order": "fixed order",
    "incomplete_shuffle": "which samples",
    "partial_last_batch": "batch size",
}
"""Bars of the causes: the share of the jump that their finding states, unless the term can be measured directly."""


@dataclass(frozen=True)
class Term:
    """One part of a jump, in units of the loss: its label, and the kind and id of the finding it belongs to, if any."""

    label: str
    value: float
    kind: str = "none"
    cause: str = ""


def decompose(run: Run, boundary: Boundary, findings: Iterable[Finding]) -> tuple[tuple[Term, ...], str]:
    """The parts of one jump, the last but one "not explained", the last the jump itself; and a note on what they rest on.

    Empty where the jump was not measured.
    """
    if not math.isfinite(boundary.jump):
        return (), "Too few batches around this boundary."
    mine = [f for f in findings if f.explains_jump and boundary.index in f.boundaries and f.kind != "unknown"]
    terms: list[Term] = []
    notes: list[str] = []
    trend = boundary.placebo_median if math.isfinite(boundary.placebo_median) else 0.0
    excess = boundary.jump - trend
    used = 0.0
    composition, said = which_samples(run, boundary)
    measured = {"which samples": composition, "batch size": batch_size_term(run, boundary)}
    notes.append(said)
    for finding in mine:
        label = LABELS.get(finding.cause)
        if label is None or used >= 1:
            continue
        value = measured.pop(label, None)
        share = finding.share
        if value is None and share is None and finding.strength == "proved" and len(mine) == 1:
            # it acts at every boundary, so that none is left to compare with, and nothing else was found there
            share = 1.0
            notes.append(f"{label}: at most, as every boundary has it.")
        if value is None and share is not None:
            share = min(share, 1 - used)
            used += share
            value = share * excess
        if value is not None:
            terms.append(Term(label, value, finding.kind, finding.cause))
    terms += [Term(label, value) for label, value in measured.items() if value is not None]
    if trend:
        terms.append(Term("trend", trend))
        notes.append("Trend: the median inside the epochs.")
    rest = boundary.jump - sum(term.value for term in terms)
    return (*terms, Term("not explained", rest, "rest"), Term("jump", boundary.jump, "jump")), " ".join(n for n in notes if n)


def batch_size_term(run: Run, boundary: Boundary) -> float | None:
    """What batches of unusual size add to the jump: the jump less the jump without them; None if all are equal."""
    if not run.has("batch_size"):
        return None
    left, right = _windows(boundary)
    usual = _usual_size(run, boundary)
    if usual[left].all() and usual[right].all():
        return None
    loss = run.loss
    kept = mean(loss[right][usual[right]]) - mean(loss[left][usual[left]])
    return boundary.jump - kept if math.isfinite(kept) else None


def _usual_size(run: Run, boundary: Boundary) -> NDArray[np.bool_]:
    """Batches as large as most around the boundary, shape (n,); all of them where sizes are unknown."""
    if not run.has("batch_size"):
        return np.ones(len(run), dtype=bool)
    size = run.float("batch_size")
    left, right = _windows(boundary)
    near = np.concatenate([size[left], size[right]])
    near = near[np.isfinite(near)]
    return np.ones(len(run), dtype=bool) if not len(near) else np.asarray(size == float(np.median(near)))


def which_samples(run: Run, boundary: Boundary) -> tuple[float | None, str]:
    """Composition term, or None with the reason; by sample where their own losses are known, else by class."""
    left, right = _windows(boundary)
    if all(mostly_known(run, "per_sample", side.start, side.stop, part=0.8) for side in (left, right)) and run.has(
        "sample_ids"
    ):
        return _by_sample(run, boundary, run.epochs[max(0, boundary.index - 1) : boundary.index + 3])
    if run.has("classes"):
        return _by_class(run, boundary)
    return None, "Which samples: unknown without classes or losses of single samples."


def _windows(boundary: Boundary) -> tuple[slice, slice]:
    b, m = boundary.batch, boundary.m
    return slice(max(0, b - m), b), slice(b, b + m)


def _by_class(
    run: Run,
    boundary: Boundary,
    *,
    rows_per_class: int = 4,
    level: float = 0.01,
    most_rest: float = 0.05,
    most_placed: float = 0.5,
    most_new: float = 0.5,
    least_read: float = 0.8,
) -> tuple[float | None, str]:
    """Class losses by least squares of the batch loss on class shares, outside the windows, with a line for each epoch."""
    epochs = run.epochs[boundary.index : boundary.index + 2]
    first, last = epochs[0].first, min(epochs[-1].last, boundary.batch + 20_000)
    first = max(first, boundary.batch - 20_000)
    share = class_shares(run, first, last)
    known = share.sum(axis=1)
    if not (known > 0).any() or known[known > 0].mean() < 1 - most_rest:
        return None, "Which samples: there are more classes than were counted."
    loss, cut, m = run.loss[first:last], boundary.batch - first, boundary.m
    rows = np.arange(len(loss))
    outside = np.isfinite(loss) & ((rows < cut - m) | (rows >= cut + m)) & (known > 0) & by_turn(run)[first:last]
    classes = share.shape[1]
    if not outside.any():
        return None, "Which samples: the classes of too few batches were read here."
    if outside.sum() < rows_per_class * classes + 4 or classes < 2:
        return None, f"Which samples: {plural(int(outside.sum()), 'batch')} for {classes} classes are too few."
    after = (rows >= cut).astype(np.float64)
    line = np.stack([np.ones(len(rows)), after, rows / len(rows), after * rows / len(rows)], axis=1)
    placed = _explained(share[outside], line[outside])
    if placed > most_placed:
        return (
            None,
            f"Which samples: cannot be told from when they came; position predicts {percent(placed)} of the class mix.",
        )
    effect, p, part = _fit(loss[outside], line[outside], share[outside])
    if p > level:
        return None, f"Which samples: makes no difference; the class mix does not predict the loss ({p_value(p)})."
    usual = _usual_size(run, boundary)[first:last]
    sides = slice(max(0, cut - m), cut), slice(cut, cut + m)
    read = [(known[side] > 0)[usual[side]] for side in sides]
    if min(float(part.mean()) if len(part) else 0.0 for part in read) < least_read:
        return None, "Which samples: the classes of too few batches were read here."
    usual &= known > 0
    before, came = (share[rows[side][usual[side]]].mean(axis=0) for side in sides)
    new = 0.5 * float(np.abs(came - before).sum())
    if new > most_new:  # a class of one side is then known from other batches only, where the model treated it otherwise
        return None, f"Which samples: cannot be told from what the model forgot; {percent(new)} of the class mix is new."
    note = f"Which samples: from the class mix, {percent(part)} of the variance of the loss ({p_value(p)})."
    return float((came - before) @ effect), note


def _explained(share: Floats, line: Floats) -> float:
    """Part of the variance of the class shares, pooled over classes, that epoch and position predict."""
    centred = share - share.mean(axis=0)
    basis, _ = np.linalg.qr(line)
    left = centred - basis @ (basis.T @ centred)
    total = float((centred**2).sum())
    return 1 - float((left**2).sum()) / total if total > 0 else 0.0


def _fit(loss: Floats, line: Floats, share: Floats) -> tuple[Floats, float, float]:
    """Effect of each class on the loss beyond the line, p of the F test, and part of the variance that it explains."""
    basis, _ = np.linalg.qr(line)
    y = loss - basis @ (basis.T @ loss)
    x = share - basis @ (basis.T @ share)
    effect, _, rank, _ = np.linalg.lstsq(x, y, rcond=1e-8)
    total, left = float(y @ y), float(((y - x @ effect) ** 2).sum())
    free = len(y) - line.shape[1] - int(rank)
    if rank == 0 or free < 1 or total <= 0:
        return effect, 1.0, 0.0
    f = max(total - left, 0.0) / rank / max(left / free, 1e-300)
    return effect, float(f_sf(f, rank, free)), max(0.0, 1 - left / total)


def _by_sample(run: Run, boundary: Boundary, near: tuple[Epoch, ...]) -> tuple[float | None, str]:
    """How hard the samples of the two windows are in other epochs, where the model met them in another order."""
    if len(near) < 2:
        return None, ""
    first, last = near[0].first, near[-1].last
    ids, losses, row = _samples(run, first, last)
    loss = run.loss[first:last]
    left, right = _windows(boundary)
    beyond = losses - loss[row]  # how much harder than its own batch: the level of the epoch drops out
    usual = _usual_size(run, boundary)[first:last][row]
    before = (row >= left.start - first) & (row < left.stop - first) & usual
    came = (row >= right.start - first) & (row < right.stop - first) & usual
    known = np.isfinite(beyond) & ~before & ~came
    if not known.any() or not before.any() or not came.any():
        return None, ""
    names, which = np.unique(ids, return_inverse=True)
    count = np.bincount(which[known], minlength=len(names))
    total = np.bincount(which[known], weights=beyond[known], minlength=len(names))
    hard = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    seen = np.isfinite(hard[which])
    if seen[before].mean() < 0.8 or seen[came].mean() < 0.8:
        return None, "Which samples: too few of them came in the epochs beside."
    value = mean(hard[which[came]]) - mean(hard[which[before]])
    return (
        value,
        f"Which samples: from the losses of the same {plural(int((before | came).sum()), 'sample')} in the epochs beside.",
    )


def _samples(run: Run, first: int, last: int) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Ids, losses and row of each sample in `first <= row < last`, flat; of the rows whose two lists match."""
    ids, losses = run.ragged["sample_ids"], run.ragged["per_sample"]
    a, b = np.asarray(ids.offsets[first : last + 1]), np.asarray(losses.offsets[first : last + 1])
    alike = np.diff(a) == np.diff(b)
    row = np.repeat(np.arange(last - first), np.where(alike, np.diff(a), 0))
    return (
        np.asarray(ids.values[a[0] : a[-1]], dtype=np.int64)[np.repeat(alike, np.diff(a))],
        np.asarray(losses.values[b[0] : b[-1]], dtype=np.float64)[np.repeat(alike, np.diff(b))],
        row,
    )
