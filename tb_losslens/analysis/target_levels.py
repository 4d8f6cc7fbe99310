"""At which boundaries the targets of whole epochs are others than before: class mix, data source, level and spread of floats.

The mix of an epoch is a table of counts, so how far chance alone moves it is known: it is Pearson's chi-square, divided by how
much more the batches and blocks of one epoch differ than single draws would. A drift that goes on and an epoch whose halves
differ are no step. Both the total of an epoch and the median over its batches must move: a span of bad batches moves the first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.content import known_shares, sample_weights
from tb_losslens.analysis.epoch_levels import levels, shifts
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.homogeneity import chi_square, dispersion
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.mix import class_names
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.tails import chi2_sf
from tb_losslens.analysis.text import number, p_value, percent, some
from tb_losslens.analysis.whole import is_whole
from tb_losslens.store.run import Epoch, Run

LASTING, ONCE = "lasting", "once"


@dataclass(frozen=True)
class TargetStep:
    """Targets take another level at boundary `at` (index).

    Attributes:
        at: where.
        signal: column.
        size: part of the samples that is of another kind, or the move in spreads of the targets.
        back: true if the level is the one of before again from the next boundary on.
        evidence: the levels in words.
    """

    at: int
    signal: str
    size: float
    back: bool
    evidence: Evidence


@dataclass(frozen=True)
class Mix:
    """Samples by kind.

    Attributes:
        signal: column that they come from.
        label: what a kind is called, as "class".
        names: of the kinds; the last column of `counts` are all others.
        counts: shape (n, kinds + 1); NaN for batches that were not read.
    """

    signal: str
    label: str
    names: tuple[str, ...]
    counts: Floats


def mixes(run: Run, *, most: int = 32) -> list[Mix]:
    """Classes and sources, as far as they were recorded."""
    size, out = sample_weights(run), []
    if run.has("classes"):
        shares = known_shares(run, most=most)
        rest = np.clip(1 - shares.sum(axis=1, keepdims=True), 0.0, 1.0)
        names = tuple(str(name) for name in class_names(run, most=most))
        out.append(Mix("classes", "class", names, np.hstack([shares, rest]) * size[:, None]))
    source = run.float("source")
    kinds, count = np.unique(source[np.isfinite(source)], return_counts=True)
    if len(kinds) > 1:
        kept = np.sort(kinds[np.argsort(-count, kind="stable")[:most]])
        own = (source[:, None] == kept[None, :]).astype(np.float64)
        known = np.where(np.isfinite(source)[:, None], np.hstack([own, 1 - own.sum(axis=1, keepdims=True)]), np.nan)
        out.append(Mix("source", "source", tuple(f"{name:g}" for name in kept), known * size[:, None]))
    return out


def target_steps(run: Run, epochs: tuple[Epoch, ...], *, least_mix: float, least_level: float) -> list[TargetStep]:
    """All steps, in order of the boundaries; several signals may take one at the same.

    Args:
        run: the run.
        epochs: its passes.
        least_mix: smallest part of the samples that is of another class or source.
        least_level: smallest move of the mean of floating targets in their spread, or of the spread as a part of itself.
    """
    there = by_turn(run).copy()  # batches that were read because their loss is high are no measure of their epoch
    for epoch in epochs:
        there[epoch.first : epoch.last] &= is_whole(run, epoch)
    out = [step for mix in mixes(run) for step in mix_steps(mix, epochs, there, least=least_mix)]
    return sorted([*out, *_float_steps(run, epochs, there, least_level)], key=lambda step: step.at)


def mix_steps(
    mix: Mix,
    epochs: tuple[Epoch, ...],
    there: NDArray[np.bool_],
    *,
    least: float,
    level: float = 1e-6,
    beyond_others: float = 10.0,
    least_batches: int = 5,
    inside: float = 0.67,
    middle: float = 0.5,
) -> list[TargetStep]:
    """Boundaries at which the counts of one epoch differ from those of the epoch before, and stay so or come back.

    Args:
        mix: counts.
        epochs: the passes.
        there: batches that count, shape (n,).
        least: smallest part of the samples that is of another kind.
        level: chance does as much no more often, of all boundaries together.
        beyond_others: times the median chi-square of the other boundaries, each less what chance gives: else it is a drift.
        least_batches: that must have been read of either epoch.
        inside: the halves of neither epoch differ by more than this part of the step.
        middle: part of the step that the median over batches must take as well.
    """
    fine = there & np.isfinite(mix.counts).all(axis=1) & (np.nan_to_num(mix.counts).sum(axis=1) > 0)
    rows = [epoch.first + np.flatnonzero(fine[epoch.first : epoch.last]) for epoch in epochs]
    tables = [mix.counts[own] for own in rows]
    usual = [k for k, table in enumerate(tables) if len(table) >= least_batches]
    if len(usual) < 2:
        return []
    total = np.array([table.sum(axis=0) for table in tables])
    spread = dispersion([tables[k] for k in usual])
    pairs = [(k, *chi_square(total[k], total[k + 1], spread)) for k in range(len(epochs) - 1) if {k, k + 1} <= set(usual)]
    excess = {k: max(0.0, chi - free) for k, chi, free in pairs}
    found = []
    for k, chi, free in pairs:
        p = float(chi2_sf(chi, free)) * len(pairs) if free else 1.0
        others = [excess[j] for j, *_ in pairs if j != k]
        apart = not others or excess[k] >= beyond_others * float(np.median(others))
        direction = total[k + 1] / total[k + 1].sum() - total[k] / total[k].sum()
        if p < level and apart and 0.5 * np.abs(direction).sum() >= least:
            found.append((k, p, direction))
    out: list[TargetStep] = []
    for k, p, direction in found:
        place = [_along(table, total[k], direction) for table in tables]  # 0 before and 1 after, on average
        level_at = np.array([_mean(own) for own in place])
        held = holds(level_at, k, [j for j, *_ in found])
        if held and _is_sharp(place, k, inside=inside, middle=middle):
            size = 0.5 * float(np.abs(direction).sum())
            out.append(TargetStep(k, mix.signal, size, held == ONCE, _words(mix, total, k, p, epochs)))
    return out


def holds(seen: Floats, k: int, steps: list[int], *, near: float = 0.5) -> str:
    """`LASTING`, `ONCE`, or "" where the level goes on moving or nobody can tell.

    Args:
        seen: level of each epoch, NaN where unknown.
        k: boundary of the step; the level before it is that of epoch k.
        steps: all boundaries with a step, in order.
        near: of the size of the step: the epochs from the step before to the next one lie no farther from their level.
    """
    size = abs(seen[k + 1] - seen[k])
    first = max((j + 1 for j in steps if j < k), default=0)
    last = min((j for j in steps if j > k), default=len(seen) - 1)

    def stay(part: Floats, level: float) -> bool:
        known = part[np.isfinite(part)]
        return bool((np.abs(known - level) < near * size).all())

    if k and first == k and len(seen) > k + 2 and abs(seen[k + 1] - seen[k - 1]) < near * size:
        return ""  # the way back after a single epoch
    if not stay(seen[first : k + 1], seen[k]):
        return ""
    if k + 2 < len(seen) and abs(seen[k + 2] - seen[k]) < near * size:
        return ONCE
    if last == k + 1 and last < len(seen) - 1:
        return ""  # it moves on at once
    return LASTING if stay(seen[k + 1 : last + 1], seen[k + 1]) else ""


def _along(table: Floats, before: Floats, direction: Floats) -> Floats:
    """How far each batch lies on the way from the mix `before` along `direction`: 0 at its begin, 1 at its end."""
    if not len(table):
        return np.empty(0)
    shares = table / table.sum(axis=1, keepdims=True)
    out: Floats = (shares - before / before.sum()) @ direction / float(direction @ direction)
    return out


def _is_sharp(place: list[Floats], k: int, *, inside: float, middle: float) -> bool:
    """True if the median of the batches goes along at boundary k, and neither epoch changes on its way."""
    if median(place[k + 1]) - median(place[k]) < middle:
        return False
    for own in (place[k], place[k + 1]):
        half = len(own) // 2
        if half and abs(_mean(own[half:]) - _mean(own[:half])) > inside:
            return False
    return True


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan


def _words(mix: Mix, total: Floats, k: int, p: float, epochs: tuple[Epoch, ...], *, most: int = 3) -> Evidence:
    before, after = (total[j] / total[j].sum() for j in (k, k + 1))
    order = np.argsort(-np.abs(after - before), kind="stable")
    names = [*(f"{mix.label} {name}" for name in mix.names), "all others"]
    moves = [f"{names[c]} from {percent(before[c])} to {percent(after[c])}" for c in order[:most] if before[c] != after[c]]
    size = percent(0.5 * float(np.abs(after - before).sum()))
    said = f"{size} of the samples are of another {mix.label} than in the epoch before ({p_value(p)}): {some(moves)}"
    return Evidence(said, mix.signal, (epochs[k].first, epochs[k + 1].last))


def _float_steps(run: Run, epochs: tuple[Epoch, ...], there: NDArray[np.bool_], least: float) -> list[TargetStep]:
    """Steps of the mean and of the logarithm of the spread of floating targets, of medians and totals of whole epochs."""
    spread = np.where(there, run.float("target_std"), np.nan)
    unit = median(spread)
    if not unit > 0:
        return []
    weight, out = sample_weights(run), []
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(np.maximum(spread, 1e-6 * unit))
    for signal, values, small in (
        ("target_mean", np.where(there, run.float("target_mean"), np.nan), least * unit),
        ("target_std", logs, math.log1p(least)),
    ):
        seen = levels(values, weight, epochs)
        steps = shifts(seen, least=small)
        for k in steps:
            old, new = (float(value) for value in seen.middle[k : k + 2])
            held = holds(seen.middle, k, steps)
            if not held:
                continue
            if signal == "target_std":
                old, new, size = math.exp(old), math.exp(new), abs(new - old)
            else:
                size = abs(new - old) / unit
            what = "mean" if signal == "target_mean" else "spread"
            said = f"the {what} of the targets goes from {number(old)} to {number(new)}"
            shown = (epochs[k].first, epochs[k + 1].last)
            out.append(TargetStep(k, signal, size, held == ONCE, Evidence(said, signal, shown)))
    return out
