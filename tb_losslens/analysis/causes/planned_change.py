"""Somebody changed something at a boundary, and the loss moves there and not at the others.

What it sees:
    Changes of settings that the recorder noticed (dropout, weight decay, trainable parameters, loader, criterion), objects that
    took the place of others, another data set, and what the user noted: at each boundary.

Why it matters:
    Layers that are unfrozen, a new term of the loss, an augmentation that is switched off: each moves the loss at once, and a
    curve does not say so. Levels before and after such a change are not comparable.

How it decides:
    Last of the causes that explain: a boundary that moves by itself, that no fault and nothing else explains, and at which
    something was changed that is not changed at most boundaries. Where several things were changed at once they are
    reported as a set, and none is chosen. It is likely where no boundary without a change moves the same way, else
    possible; a plain note that speaks of a change is possible at most. Where as many boundaries move without a change, it is
    not claimed. Inside an epoch the same holds for a rise of the loss that its placebos do not know (`shifts.py`): a note at it
    is likely, settings that the end of the epoch shows are possible.

What to try:
    Compare the loss term by term, or on fixed data, before and after the change; make one change at a time.

When it is wrong:
    A change that was no intention (a bug that sets a dropout rate) looks the same: the settings are named, with their values. A
    change beside a jump of another cause that is not recorded is blamed for it. False-alarm rate: that of a single
    boundary, at boundaries with a change only; `python -m demo.healthy` counts it.

References:
    Fisher, The Design of Experiments, 1935: two factors that are changed together are confounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tb_losslens.analysis.change_set import ChangeSet, change_sets, lr_change
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import around, clear_where_named, excess, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Boundary, Checked, Evidence, Finding, Skipped, Strength
from tb_losslens.analysis.inside_report import changes_inside
from tb_losslens.analysis.stats import finite, median, robust_sigma
from tb_losslens.analysis.text import lower_first, number, plural, signed, some

ID = "planned_change"
REQUIRES: tuple[str, ...] = ("loss",)

_RATES = ("lr_increase", "lr_decrease")


def find(context: Context, *, beyond: float = 3.5, most_steps: int = 50) -> Outcome | list[Outcome]:
    """One finding for all boundaries with a change at which the loss moves, and one for each such change inside an epoch.

    Args:
        context: the run and its measurement.
        beyond: standard deviations of the other boundaries by which one must differ where all of them move.
        most_steps: bounds `Finding.steps`.
    """
    at_boundaries = _at_boundaries(context, beyond=beyond, most_steps=most_steps)
    inside = changes_inside(context, ID)
    if not inside:
        return at_boundaries
    return [at_boundaries, *inside] if isinstance(at_boundaries, Finding) else [*inside]


def _at_boundaries(context: Context, *, beyond: float, most_steps: int) -> Outcome:
    if context.pooled.reason:
        return Skipped(ID, context.pooled.reason, "")
    sets = change_sets(context.run, context.epochs, context.boundaries)
    if not sets:
        return Checked(ID, f"nothing is known to have been changed at {plural(len(context.boundaries), 'boundary')}")
    taken, shared = _explained(context, sets)
    acting = [
        k
        for k in sets
        if k not in taken
        and (_stands_out(context, k, beyond) if k in shared or context.pooled.direction else _moves(context, k, len(sets)))
    ]
    where = f"boundar{'y' if len(sets) == 1 else 'ies'} {some([k + 1 for k in sets])}"
    if not acting:
        level = signed(typical_excess(context.boundaries[k] for k in sets))
        said = f"{some([line for one in sets.values() for line in one.lines], 3)} at {where}: the loss moves there by {level}"
        return Checked(ID, f"{said}, {'which another cause explains' if taken & set(sets) else 'not clearly beyond noise'}")
    signs = {math.copysign(1.0, excess(context.boundaries[k])) for k in acting}
    plain = [b for b in context.boundaries if b.significant and b.index not in {*sets, *taken}]
    others = [b for b in plain if math.copysign(1.0, excess(b)) in signs]
    if len(others) >= len(acting):
        return Checked(ID, f"the loss moves at {where}, where something was changed, and at {len(others):,} others without")
    return _finding(context, sets, acting, others, most_steps=most_steps)


def _explained(context: Context, sets: Mapping[int, ChangeSet]) -> tuple[set[int], set[int]]:
    """Boundaries that a fault, an artifact or a plan explains, and those that only something expected does.

    A learning rate that changes together with other things is one of them: no proof of its own that it is why.
    """
    taken: set[int] = set()
    shared: set[int] = set()
    for outcome in context.earlier:
        if isinstance(outcome, Finding) and outcome.explains_jump:
            at = set(outcome.boundaries)
            if outcome.cause in _RATES and outcome.strength != "proved":
                at -= {k for k, one in sets.items() if any(not line.startswith("scheduler") for line in one.seen)}
            (shared if outcome.kind == "benign" else taken).update(at)
    return taken, shared - taken


def _moves(context: Context, k: int, tests: int) -> bool:
    return context.boundaries[k].significant or any(clear_where_named(context, k, sign, tests=2 * tests) for sign in (1, -1))


def _stands_out(context: Context, k: int, beyond: float) -> bool:
    """True if boundary `k` moves beyond all others in the same direction, at two window sizes."""
    here = context.boundaries[k]
    scores = []
    for m, z in here.z_by_m.items():
        rest = finite(np.array([b.z_by_m.get(m, math.nan) for b in context.boundaries if b.index != k]))
        if math.isfinite(z) and len(rest) > 1:
            scores.append((z - median(rest)) / max(1.0, robust_sigma(rest)))
    return sum(score > beyond for score in scores) >= 2 or sum(score < -beyond for score in scores) >= 2


def _finding(
    context: Context, sets: Mapping[int, ChangeSet], acting: Sequence[int], others: Sequence[Boundary], *, most_steps: int
) -> Finding:
    first = context.boundaries[acting[0]]
    chosen = [context.boundaries[k] for k in acting]
    level = typical_excess(chosen)
    where = f"boundar{'y' if len(acting) == 1 else 'ies'} {some([k + 1 for k in acting])}"
    evidence = [
        Evidence(f"at boundary {k + 1} (step {context.boundaries[k].step:,}): {some(_named(context, sets, k), 6)}")
        for k in acting[:5]
    ]
    size = number(abs(first.z), 2)
    evidence.append(Evidence(f"the loss moves there by {signed(level)}, {size}× the noise beside it", "loss", around(first)))
    evidence.append(Evidence(_elsewhere(context, sets, others)))
    against = [Evidence(f"so it does at boundaries {some([b.index + 1 for b in others])} without a change")] if others else []
    quiet = [k for k in sets if k not in acting]
    if quiet:
        against.append(Evidence(f"at boundaries {some([k + 1 for k in quiet])} something was changed as well, without a move"))
    things = list(dict.fromkeys(thing for k in acting for thing in _things(context, sets, k)))
    several = max(len(_things(context, sets, k)) for k in acting) > 1
    if several:
        against.append(Evidence("several things were changed at once: which of them it is cannot be told from this run"))
    certain = all(sets[k].seen or sets[k].noted for k in acting)
    strength: Strength = "likely" if certain and not others else "possible"
    what = f"several things are changed at once ({some(things, 6)})" if several else f"there is a change ({some(things)})"
    return Finding(
        ID, "planned", strength, "Several changes at a boundary" if several else "A change at a boundary",
        f"At {where} {what}, and the loss moves with it by {signed(level)}.",
        detail="set" if several else "single", score=0.8 if strength == "likely" else 0.5, boundaries=tuple(acting),
        steps=tuple(b.step for b in chosen[:most_steps]), share=share_against_rest(context, acting),
        evidence=tuple(evidence), against=tuple(against),
        advice="Expected where the change was meant; levels before and after it are not comparable. "
        + ("Make the changes one at a time to see which of them moves it." if several else "If it was not meant, undo it."),
        fix=f'writer.note("what was changed, and why", kind="config_change")     # right before step {first.step}',
        confirm=f"Evaluate one fixed batch right before and after step {first.step:,}, with and without the change.",
    )  # fmt: skip


def _named(context: Context, sets: Mapping[int, ChangeSet], k: int) -> list[str]:
    """What was changed at boundary `k`, with the LR where it changes too."""
    return [*sets[k].lines, *_rate(context, k)]


def _things(context: Context, sets: Mapping[int, ChangeSet], k: int) -> list[str]:
    """The same by what it is about; a new optimiser or scheduler has a rate of its own."""
    things = list(sets[k].things)
    return things if {"optimiser", "scheduler"} & set(things) else [*things, *(["LR"] if _rate(context, k) else [])]


def _rate(context: Context, k: int) -> list[str]:
    rate = lr_change(context.run, context.boundaries[k].batch)
    return [rate] if rate else []


def _elsewhere(context: Context, sets: Mapping[int, ChangeSet], others: Sequence[Boundary]) -> str:
    rest = [b for b in context.boundaries if b.index not in sets]
    if not rest:
        return "something was changed at every boundary"
    moved = f"{len(others):,} of them move the same way" if others else "none of them moves the same way by itself"
    return lower_first(f"{plural(len(rest), 'boundary')} are without a change, and {moved}")
