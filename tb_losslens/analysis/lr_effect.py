"""What the loss does where the LR changes at once: at boundaries as measured there, inside epochs by the same rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.cuts import Cut, measure_levels, measure_rows
from tb_losslens.analysis.explain import clear_where_named, excess, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.lr_levels import rise_over_epochs
from tb_losslens.analysis.lr_steps import LrStep, lr_steps
from tb_losslens.analysis.stats import MAD_TO_SIGMA, median
from tb_losslens.analysis.text import number, plural, signed, some
from tb_losslens.analysis.whole import is_whole


@dataclass(frozen=True)
class LrEffect:
    """The moves of the loss at some LR steps, all up or all down.

    Attributes:
        boundaries: indices of the boundaries among them at which the loss moves the way asked for.
        steps: the LR steps at which it does, inside epochs or at boundaries.
        level: median move there, beyond what other cuts show.
        rest: the same at the boundaries without an LR step in this direction, NaN if there are none.
        share: part of `level` that those do not have, None if unknown.
        compared: the move was told from one without such a step, at other boundaries or other cuts.
        slow: the move takes up to an epoch; `level` and `rest` are then changes of the median from one epoch to the next.
        without: indices of the boundaries without an LR step in this direction.
    """

    boundaries: tuple[int, ...]
    steps: tuple[LrStep, ...]
    level: float
    rest: float
    share: float | None
    compared: bool
    slow: bool = False
    without: tuple[int, ...] = ()


def effect_of(context: Context, steps: Sequence[LrStep], sign: int, *, most: int = 50) -> LrEffect | None:
    """Moves with `sign` (+1 up, -1 down) at `steps`; None if the loss does not move that way at them beyond noise.

    Asked in three ways: the boundaries as measured (together, or each by itself, for the LR names it), rows inside epochs by
    the same rules, and, because a loss may take some dozen steps to follow the LR, a lasting change of level at each row, over
    up to three epochs. The first `most` steps are asked one by one. Where all that says no, whole epochs are compared: a loss
    may also take a whole epoch. Falling less than elsewhere is no rise.
    """
    with_step = {step.boundary: step for step in steps if step.boundary is not None}
    at = sorted(with_step)
    right = [k for k in at if min(sign * excess(context.boundaries[k]), sign * context.boundaries[k].jump) > 0]
    together = sign * typical_excess(context.boundaries[k] for k in at) > 0
    moved = right if together and 2 * len(right) > len(at) and jumps(context, at) else []
    if not moved:
        moved = [k for k in right if clear_where_named(context, k, sign, tests=len(at))]
    levels = {with_step[k].row: excess(context.boundaries[k]) for k in moved}
    clear = [cut for cut in _single(context, steps[:most]) if cut.clear and min(sign * cut.excess, sign * cut.jump) > 0]
    for cut in clear:
        levels.setdefault(cut.row, cut.excess)
    if not levels:
        return _by_epoch(context, with_step, sign)
    acting = tuple(step for step in steps if step.row in levels)
    chosen = tuple(sorted({step.boundary for step in acting if step.boundary is not None}))
    rest = typical_excess(b for b in context.boundaries if b.index not in at)
    share = share_against_rest(context, moved) if moved else None
    compared = bool(clear) or math.isfinite(rest)
    without = tuple(b.index for b in context.boundaries if b.index not in at)
    return LrEffect(chosen, acting, median(np.array(list(levels.values()))), rest, share, compared, without=without)


def _by_epoch(
    context: Context, with_step: dict[int, LrStep], sign: int, *, located_z: float = 3.0, white_z: float = 4.0
) -> LrEffect | None:
    """The medians of neighbouring epochs, at boundaries with an LR step against those without any.

    A step counts where the median moves the way asked for by `located_z` robust standard deviations more than at the
    boundaries without one; most steps must, and together they must exceed the noise of the batches alone by `white_z`. On
    log loss if it is positive throughout.
    """
    loss = context.run.loss
    level = np.array([median(loss[epoch.first : epoch.last]) for epoch in context.epochs])
    changed = {step.boundary for step in lr_steps(context) if step.boundary is not None}
    whole = [is_whole(context.run, epoch) for epoch in context.epochs]
    rest = [k for k in range(len(level) - 1) if k not in changed and whole[k] and whole[k + 1]]
    with_step = {k: step for k, step in with_step.items() if whole[k] and whole[k + 1]}
    if len(rest) < 4 or not np.isfinite(level).all() or not math.isfinite(context.noise):
        return None
    used = np.log(level) if (level > 0).all() else level
    moves, plain = sign * np.diff(used), sign * np.diff(level)
    usual = median(moves[rest])
    length = np.array([len(epoch) for epoch in context.epochs])
    white = context.noise * np.sqrt(1 / length[:-1] + 1 / length[1:]) * math.sqrt(math.pi / 2)  # of two medians
    scale = MAD_TO_SIGMA * median(np.abs(moves[rest] - usual))
    acting = [k for k in sorted(with_step) if moves[k] > 0 and moves[k] - usual > located_z * scale]
    if 2 * len(acting) <= len(with_step) or not acting:
        return None
    if math.sqrt(len(acting)) * float((plain[acting] / white[acting]).mean()) <= white_z:
        return None
    steps = tuple(with_step[k] for k in acting)
    return LrEffect(
        tuple(acting),
        steps,
        sign * median(plain[acting]),
        sign * median(plain[rest]),
        None,
        compared=True,
        slow=True,
        without=tuple(rest),
    )


def _single(context: Context, steps: Sequence[LrStep]) -> list[Cut]:
    """Each LR step by itself: a jump inside an epoch, else a lasting change of level."""
    loss = context.run.loss
    lengths = [len(epoch) for epoch in context.epochs]
    epoch = int(np.median(lengths)) if lengths else len(loss)
    boundaries = [b.batch for b in context.boundaries]
    every = [*(step.row for step in lr_steps(context)), *(gap.row for gap in context.run.gaps)]
    rows = [step.row for step in steps]
    window = int(np.clip(epoch // 3, 10, 100))
    lasting = measure_levels(loss, rows, window=window, events=every)
    # a loss may take a whole epoch to follow; over so many batches a smaller move is clear, and fewer cuts are left
    slow = measure_levels(loss, rows, window=min(max(epoch, window), 400), events=every, least_placebos=6, finer=4)
    lasting = [quick if quick.clear else long for quick, long in zip(lasting, slow, strict=True)]
    lasting = [
        cut if cut.clear else _or_rise(cut, rise_over_epochs(context.run, cut.row, max(epoch, 1), events=every))
        for cut in lasting
    ]
    at_once = measure_rows(loss, rows, reach=max(60, epoch), others=[*boundaries, *every])
    return [
        jump if step.boundary is None and jump.clear else level
        for step, jump, level in zip(steps, at_once, lasting, strict=True)
    ]


def _or_rise(known: Cut, rise: Cut) -> Cut:
    return rise if rise.clear else known


def comparison(context: Context, effect: LrEffect, what: str) -> tuple[list[Evidence], list[Evidence]]:
    """(for, against): the boundaries with such a change beside those without one."""
    if not effect.boundaries:
        return [], []
    if not effect.compared:
        return [], [Evidence(f"the LR is {what} at every boundary, so there is none without to compare with", "lr")]
    if math.isnan(effect.rest):
        return [], []
    others = len(effect.without)
    if effect.slow:
        moved = f"from one epoch to the next the median loss moves by {signed(effect.level)} where the LR is {what}"
        return [Evidence(f"{moved}, by {signed(effect.rest)} at {plural(others, 'boundary')} without", "loss")], []
    here = at_boundaries(context, effect)
    rest = median(np.array([context.boundaries[k].jump for k in effect.without]))
    there = f"the loss moves by {signed(here)} where the LR is {what}"
    later = abs(effect.level) > 1.5 * abs(here) and len(effect.boundaries) == len(effect.steps)
    more = f"; over more batches by {signed(effect.level)}" if later else ""
    line = Evidence(f"{there}, by {signed(rest)} at {plural(others, 'boundary')} without{more}", "loss")
    return ([line], []) if effect.share is None or effect.share >= 0.3 else ([], [line])


def at_boundaries(context: Context, effect: LrEffect) -> float:
    """Median jump at the boundaries where it acts, as the headline has it; its level where it acts inside epochs."""
    jump = median(np.array([context.boundaries[k].jump for k in effect.boundaries]))
    return jump if math.isfinite(jump) else effect.level


def also_explained(context: Context, boundaries: Sequence[int]) -> tuple[Finding | None, list[Evidence]]:
    """(a proof decided earlier that explains the same boundaries, what to say of it)."""
    for outcome in context.earlier:
        if isinstance(outcome, Finding) and outcome.explains_jump and set(outcome.boundaries) & set(boundaries):
            both = sorted(set(outcome.boundaries) & set(boundaries))
            said = f"`{outcome.cause}` ({outcome.strength}) acts at the same {plural(len(both), 'boundary')}"
            return (outcome if outcome.strength == "proved" else None), [Evidence(said)]
    return None, []


def change_in_words(steps: Sequence[LrStep]) -> str:
    """Old and new LR, as "from 0.01 to 0.1", or the range of the factors where they differ."""
    first = steps[0]
    alike = all(
        math.isclose(s.before, first.before, rel_tol=0.02, abs_tol=1e-12) and math.isclose(s.after, first.after, rel_tol=0.02)
        for s in steps
    )
    if alike:
        return f"from {number(first.before)} to {number(first.after)}"
    ratios = sorted(s.ratio for s in steps if math.isfinite(s.ratio))
    if not ratios:
        return f"from 0 to {number(first.after)}"
    low, high = number(ratios[0], 2), number(ratios[-1], 2)
    return f"by a factor of {low}" if low == high else f"by factors of {low} to {high}"


def places(context: Context, steps: Sequence[LrStep]) -> str:
    """Where they are, as "boundaries 4 and 8" or "steps 600 and 950"."""
    at = [s.boundary + 1 for s in steps if s.boundary is not None]
    if len(at) == len(steps):
        return f"boundar{'y' if len(at) == 1 else 'ies'} {some(at)}"
    numbers = [int(context.run.step[s.row]) for s in steps]
    return f"step{'' if len(numbers) == 1 else 's'} {some(numbers)}"
