"""The learning rate is cut, and the loss falls at once.

What it sees:
    The LR of every parameter group at each step.

Why it matters:
    A smaller LR bounces less around the bottom of the valley: within a few batches the loss sinks to a lower floor. This is
    what schedules are for, and it looks like a jump at the boundary where the schedule steps.

How it decides:
    A cut by a fifth or more that stands out from the changes of the LR around it, and a loss that moves down at the same row,
    more than at boundaries without a cut. A cut that comes together with another optimiser, other batches or trained layers is
    one of a set, of which none is chosen (`planned_change`).

What to try:
    Nothing to fix. An earlier cut costs the noise that still explores, a later one costs time.

When it is wrong:
    A pass over known samples lowers the loss at boundaries too (`memorization`); where every boundary has a cut the two cannot
    be told apart, and this is called possible. A cut that comes after the loss went up did not cause the rise: the
    scheduler reacted to it, and this is said.

References:
    Robbins and Monro, A stochastic approximation method, 1951. PyTorch documentation, `StepLR`, `ReduceLROnPlateau`.
"""

from __future__ import annotations

from collections.abc import Sequence

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import excess, is_gradual
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Strength
from tb_losslens.analysis.lr_effect import also_explained, change_in_words, comparison, effect_of, places
from tb_losslens.analysis.lr_steps import LrStep, lr_steps
from tb_losslens.analysis.lr_with_others import changed_with, not_chosen
from tb_losslens.analysis.text import number, plural, signed

ID = "lr_decrease"
REQUIRES: tuple[str, ...] = ("loss", "lr")


def find(context: Context, *, most_ratio: float = 0.8, least_share: float = 0.3) -> Outcome:
    """Decides over all cuts together.

    Args:
        context: the run and its measurement.
        most_ratio: a cut multiplies the LR by this or less.
        least_share: part of the fall that boundaries without a cut must lack.
    """
    cuts = [step for step in lr_steps(context) if step.ratio <= most_ratio]
    if not cuts:
        return Checked(ID, "the learning rate is never cut at once")
    mixed = changed_with(context, cuts)
    if len(mixed) == len(cuts):
        said = f"the learning rate is cut {change_in_words(cuts)} at {places(context, cuts)}"
        return Checked(ID, f"{said}, {not_chosen(mixed)}")
    cuts = [step for step in cuts if step.row not in mixed]
    reaction = _reaction(context, cuts)
    effect = effect_of(context, cuts, -1)
    said = f"the learning rate is cut {change_in_words(cuts)} at {places(context, cuts)}"
    if effect is None:
        tail = f"; {reaction[0]}" if reaction else ""
        return Checked(ID, f"{said}, with no fall of the loss beyond noise{tail}")
    if effect.share is not None and effect.share < least_share:
        return Checked(
            ID, f"{said}; boundaries without a cut fall by {signed(effect.rest)}, those with one by {signed(effect.level)}"
        )
    acting = effect.steps
    row = acting[0].row
    slow = effect.slow or is_gradual(context, effect.boundaries, len(acting))
    span = (max(0, row - 10), row + 10)
    proof, against = also_explained(context, effect.boundaries)
    evidence = [Evidence(f"the LR falls {change_in_words(acting)} at {places(context, acting)}", acting[0].column, span)]
    supporting, contrary = comparison(context, effect, "cut")
    evidence += supporting
    against += contrary
    if not supporting:
        evidence.append(
            Evidence(f"the loss falls by {number(-effect.level, 2)} there, beyond what other cuts show", "loss", span)
        )
    if len(cuts) > len(acting):
        against.append(Evidence(f"at {plural(len(cuts) - len(acting), 'other cut')} of the LR the loss does not fall", "lr"))
    strength: Strength = "possible" if proof is not None or not effect.compared else "likely"
    where = (
        f"at {len(effect.boundaries):,} of {plural(len(context.boundaries), 'boundary')}"
        if effect.boundaries
        else f"at {places(context, acting)}"
    )
    falls = "and the loss falls over the epoch after it" if slow else "and the loss falls with it"
    return Finding(
        ID,
        "benign",
        strength,
        "LR cut",
        f"The learning rate is cut {change_in_words(acting)} {where}, {falls}.",
        score=0.8 if strength == "likely" else 0.4,
        boundaries=effect.boundaries,
        steps=tuple(int(context.run.step[s.row]) for s in acting[:50]),
        share=effect.share,
        evidence=(*evidence, *reaction),
        against=tuple(against),
        advice="Expected: with a smaller LR the weights bounce less. Nothing to fix.",
        confirm=f"Repeat from step {int(context.run.step[row]):,} with the LR left at {number(acting[0].before)}: no fall.",
    )


def _reaction(context: Context, cuts: Sequence[LrStep], *, epochs: int = 4) -> list[Evidence]:
    """A rise of the loss at a boundary up to so many epochs before a cut: the cut answers it."""
    for cut in cuts:
        rose = [b for b in context.boundaries if b.significant and excess(b) > 0 and b.batch < cut.row]
        if not rose:
            continue
        last = rose[-1]
        near = sum(last.batch <= epoch.first < cut.row for epoch in context.epochs)
        if near <= epochs:
            first, then = f"the loss rose at boundary {last.index + 1} (step {last.step:,})", int(context.run.step[cut.row])
            return [Evidence(f"{first}, the cut came at step {then:,}: it answers the rise and did not cause it", "lr")]
    return []
