"""Where a jump comes from: terms that add up to it exactly, each estimated from what was recorded, the rest left open.

Measured are what came (composition.py: which samples, which source of data), batches of another size, what was touched in the
model between two epochs (model_touched.py), and the trend that the loss has inside the epochs. What a cause explains, as a step
of the LR or a mode, goes by the share that its finding states. A term that cannot be estimated is left out and said in the
note; it is then part of "not explained". Each term has an interval of 95 % where its batches allow one, by drawing them again
(resample.py). It is that of the batches: the share that a finding states is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tb_losslens.analysis.composition import by_samples, by_source, which_samples
from tb_losslens.analysis.finding import Boundary, Finding
from tb_losslens.analysis.jump_part import Part
from tb_losslens.analysis.model_touched import model_touched
from tb_losslens.analysis.resample import Draws, draw
from tb_losslens.analysis.stats import Floats, mean
from tb_losslens.analysis.windows import usual_size, windows
from tb_losslens.store.run import Run

__all__ = ["LABELS", "Term", "batch_size_term", "decompose", "which_samples"]

LABELS = {
    "lr_increase": "LR step",
    "lr_decrease": "LR step",
    "wrong_mode": "mode",
    "memorization": "seen before",
    "epochal_sawtooth": "seen before",
    "running_mean": "running mean",
    "input_shift": "other inputs",
    "target_shift": "other targets",
    "bad_batch": "bad batch",
    "repeated_order": "fixed order",
    "incomplete_shuffle": "which samples",
    "class_imbalance": "which samples",
    "partial_last_batch": "batch size",
    "weights_swapped": "model touched",
    "resume_discontinuity": "model touched",
    "optimizer_reset": "optimiser state",
    "missing_zero_grad": "old gradients",
    "planned_change": "planned change",
}
"""Bars of the causes: the share of the jump that their finding states, unless the term can be measured directly."""


@dataclass(frozen=True)
class Term:
    """One part of a jump, in units of the loss: its label, and the kind and id of the finding it belongs to, if any.

    `low` and `high` are the ends of its interval of 95 %, NaN where there is none.
    """

    label: str
    value: float
    kind: str = "none"
    cause: str = ""
    low: float = math.nan
    high: float = math.nan


def decompose(run: Run, boundary: Boundary, findings: Iterable[Finding]) -> tuple[tuple[Term, ...], str]:
    """The parts of one jump, the last but one "not explained", the last the jump itself; and a note on what they rest on.

    Empty where the jump was not measured.
    """
    if not math.isfinite(boundary.jump):
        return (), "Too few batches around this boundary."
    mine = [f for f in findings if f.explains_jump and boundary.index in f.boundaries and f.kind != "unknown"]
    left, right = windows(run, boundary)
    drawn = draw((left.stop - left.start, right.stop - right.start), seed=boundary.batch)
    jump = _drawn_jump(run, boundary, drawn)
    terms: list[tuple[Term, Floats | None]] = []
    notes: list[str] = []
    trend = boundary.placebo_median if math.isfinite(boundary.placebo_median) else 0.0
    of_trend = drawn.normal(_trend_error(boundary)) + trend if drawn else None
    excess = boundary.jump - trend
    of_excess = jump - of_trend if jump is not None and of_trend is not None else None
    used = 0.0
    parts = {
        "which samples": by_samples(run, boundary),
        "which source": by_source(run, boundary),
        "batch size": _batch_size(run, boundary),
        "model touched": model_touched(run, boundary),
    }
    notes += [part.note for part in parts.values()]
    measured = {label: part for label, part in parts.items() if part.value is not None}
    for finding in mine:
        label = LABELS.get(finding.cause)
        if label is None or used >= 1:
            continue
        part = measured.pop(label, None)
        share = finding.share
        if part is not None:
            terms.append(_term(Term(label, part.value or 0.0, finding.kind, finding.cause), part, drawn))
            continue
        if share is None and finding.strength == "proved" and len(mine) == 1:
            # it acts at every boundary, so that none is left to compare with, and nothing else was found there
            share = 1.0
            notes.append(f"{label}: at most, as every boundary has it.")
        if share is not None:
            share = min(share, 1 - used)
            used += share
            draws = share * of_excess if of_excess is not None else None
            terms.append((Term(label, share * excess, finding.kind, finding.cause), draws))
    terms += [_term(Term(label, part.value or 0.0), part, drawn) for label, part in measured.items()]
    if trend:
        terms.append((Term("trend", trend), of_trend))
        notes.append("Trend: the median inside the epochs.")
    rest = Term("not explained", boundary.jump - sum(term.value for term, _ in terms), "rest")
    of_rest = jump
    for term, draws in terms:
        of_rest = None if of_rest is None else of_rest - (term.value if draws is None else draws)
    terms += [(rest, of_rest), (Term("jump", boundary.jump, "jump"), jump)]
    if drawn is None:
        notes.append("No intervals: too few batches a side.")
    rounding = 1e-9 * max(abs(boundary.before), abs(boundary.after))
    found = tuple(_with_interval(term, draws, drawn, rounding=rounding) for term, draws in terms)
    return found, " ".join(note for note in notes if note)


def batch_size_term(run: Run, boundary: Boundary) -> float | None:
    """What batches of unusual size add to the jump: the jump less the jump without them; None if all are equal."""
    return _batch_size(run, boundary).value


def _batch_size(run: Run, boundary: Boundary) -> Part:
    if not run.has("batch_size"):
        return Part(None)
    left, right = windows(run, boundary)
    usual = usual_size(run, boundary)
    if usual[left].all() and usual[right].all():
        return Part(None)
    loss = run.loss
    kept = mean(loss[right][usual[right]]) - mean(loss[left][usual[left]])
    if not math.isfinite(kept):
        return Part(None)
    plain = np.where(usual, loss, np.nan)

    def draws(drawn: Draws) -> Floats:
        return drawn.difference(loss[left], loss[right]) - drawn.difference(plain[left], plain[right])

    return Part(boundary.jump - kept, draws=draws)


def _drawn_jump(run: Run, boundary: Boundary, drawn: Draws | None) -> Floats | None:
    """Draws of the jump; None where it cannot be taken apart into the batches of its windows."""
    if drawn is None:
        return None
    left, right = windows(run, boundary)
    jump = drawn.difference(run.loss[left], run.loss[right])
    return jump if math.isfinite(jump[0]) else None


def _trend_error(boundary: Boundary) -> float:
    """Standard error of the median of the placebos, of which a third count as independent."""
    width = boundary.placebo_high - boundary.placebo_low
    return 1.2533 * width / 3.92 / math.sqrt(max(1.0, boundary.placebo_count / 3)) if math.isfinite(width) else math.nan


def _term(term: Term, part: Part, drawn: Draws | None) -> tuple[Term, Floats | None]:
    return term, part.draws(drawn) if part.draws is not None and drawn is not None else None


def _with_interval(term: Term, draws: Floats | None, drawn: Draws | None, *, rounding: float) -> Term:
    """The term with its interval; one no wider than `rounding` is what is left where the other terms make up the whole jump."""
    if draws is None or drawn is None:
        return term
    low, high = drawn.interval(term.value, draws)
    return replace(term, low=low, high=high) if high - low > rounding else term
