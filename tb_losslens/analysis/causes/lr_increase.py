"""The learning rate rises at once, and the loss rises with it.

What it sees:
    The LR of every parameter group at each step, the class of the scheduler, and when it was replaced.

Why it matters:
    At a larger LR the weights bounce further from the bottom of the valley that they had settled in: the loss goes up within a
    few batches and stays up until the LR falls again. Restarts do that on purpose. A scheduler that is built anew in each
    epoch, or stepped in the wrong unit, does it by accident, at every boundary, and the training never gets to its low LRs.

How it decides:
    A change counts if it stands out from the changes around it, so that no part of a smooth schedule does. The loss must move
    up at the same row, more than at boundaries without such a change. A level that was there before, after lower ones, is a
    restart or a reset: a restart if the scheduler is one that restarts, a reset if the scheduler was replaced there, if its
    class cannot raise the LR, or if an unknown one is back at its first LR at every boundary. Any other rise is a step.
    A cosine that is stepped once a batch and is over within half an epoch, or after as many batches as the run has epochs, was
    meant in epochs (`stepping_unit`).
    Whether it was meant is asked after that. Planned: a `config_change` beside it, a rise that begins with the run (warm-up),
    and restarts that the loss recovers from. What the LR did is counted exactly, at all its rises; where the loss followed is
    measured, and said apart. A run that never comes back, or stops being finite, came to harm: then the LR that it was raised
    to is too high, if it had no such LR before. A rise that comes together with two other changes or more, as another
    optimiser and other batches, is one of a set, of which none is chosen (`planned_change`).

What to try:
    Build the scheduler once, step it in its own unit; raise the LR over some hundred steps, and no higher than the run bears.

When it is wrong:
    Where the LR rises at every boundary there is none to compare with, and what else happens at a boundary cannot be told from
    it; that is said. A rise over the batches after a boundary that itself drops is said to be that, and is not why the loss
    drops. A scheduler that is proved to start again without a rise of the loss is a fault without effect so far, and said to
    be; any other rise without one is none. `python -m demo.healthy` counts false alarms over several schedules. A cut that
    follows a rise of the loss is a reaction: `lr_decrease`.

References:
    Loshchilov and Hutter, SGDR, 2017. Goyal et al., Accurate, large minibatch SGD, 2017 (warm-up). PyTorch documentation,
    `torch.optim.lr_scheduler`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.changes import planned_at, replaced_at
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import is_gradual
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Kind, Strength
from tb_losslens.analysis.lr_effect import (
    LrEffect,
    also_explained,
    at_boundaries,
    change_in_words,
    comparison,
    effect_of,
    places,
)
from tb_losslens.analysis.lr_harm import count_of, harm_after, within_noise
from tb_losslens.analysis.lr_repair import lr_fix
from tb_losslens.analysis.lr_steps import LrStep, lr_steps
from tb_losslens.analysis.lr_unit import unit_finding, wrong_unit
from tb_losslens.analysis.lr_with_others import changed_with, not_chosen
from tb_losslens.analysis.lr_words import ADVICE, ADVICE_HARMED, WORDS, only_later, rises_how, some_of
from tb_losslens.analysis.schedule import (
    RESTARTING,
    about_scheduler,
    cycles_lost,
    is_certain_reset,
    rise_kind,
    scheduler_class,
)
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, plural

ID = "lr_increase"
REQUIRES: tuple[str, ...] = ("loss", "lr")


def find(context: Context, *, least_ratio: float = 1.2, most_boundaries: float = 0.8) -> list[Outcome]:
    """Decides each kind of rise for itself.

    Args:
        context: the run and its measurement.
        least_ratio: smallest rise that is asked for an effect.
        most_boundaries: an unknown scheduler that is back at its first LR at this part of the boundaries is reset.
    """
    every = [step for step in lr_steps(context) if step.ratio >= least_ratio]
    mixed = changed_with(context, every, least=2)
    rises = [step for step in every if step.row not in mixed]
    wrong = wrong_unit(context)
    out: list[Outcome] = [] if wrong is None else [unit_finding(context, wrong, ID)]
    if not rises or wrong is not None:  # whatever else it does then follows from that
        if not out and mixed:
            said = f"the learning rate rises at {places(context, every)} ({change_in_words(every)})"
            return [Checked(ID, f"{said}, {not_chosen(mixed)}")]
        return out or [Checked(ID, "the learning rate never rises at once")]
    groups: dict[tuple[str, bool], list[LrStep]] = {}
    for step in rises:
        detail = rise_kind(context, step, rises, most_boundaries=most_boundaries)
        noted = detail in ("step", "scheduler_reset") and planned_at(context.run, step.row) is not None
        groups.setdefault((detail, noted), []).append(step)
    for (detail, noted), steps in groups.items():
        effect = effect_of(context, steps, +1)
        if effect is not None:
            out.append(_finding(context, detail, steps, effect))
        elif detail == "scheduler_reset" and len(steps) > 1 and not noted:
            out.append(_aside(context, steps, alone=len(groups) == 1))
    quiet = (
        f"the learning rate rises at {places(context, rises)} ({change_in_words(rises)}), with no rise of the loss beyond noise"
    )
    return out or [Checked(ID, quiet)]


def _finding(context: Context, detail: str, steps: Sequence[LrStep], effect: LrEffect) -> Finding:
    run = context.run
    acting = effect.steps
    row = acting[0].row
    slow = effect.slow or is_gradual(context, effect.boundaries, len(acting))
    proof, against = also_explained(context, effect.boundaries)
    span = (max(0, row - 10), row + 10)
    evidence = [
        Evidence(f"the LR rises {change_in_words(steps)} at {places(context, steps)}, in one step", steps[0].column, span)
    ]
    supporting, contrary = comparison(context, effect, "raised")
    evidence += supporting
    against += contrary
    if not supporting:
        evidence.append(Evidence(f"the loss rises by {number(at_boundaries(context, effect), 2)} there", "loss", span))
    evidence += about_scheduler(context, detail, steps)
    harm = harm_after(context, acting)
    kind, said = _kind(context, detail, steps, harmed=harm is not None)
    (evidence if kind == "fault" else against).extend(said)
    if harm is not None:
        evidence.append(harm.evidence)
    against += within_noise(context, steps, acting)
    strength: Strength = "likely"
    if detail == "scheduler_reset" and proof is None and is_certain_reset(context, steps):
        strength = "proved"
    elif proof is not None or (not effect.compared and detail == "step"):
        strength = "possible"
    verb, title = WORDS[detail]
    later = only_later(context, effect)
    follows = f"and {some_of(acting, steps)}the loss {rises_how(effect, len(acting) < len(steps), later=later, slow=slow)}"
    return Finding(
        ID,
        kind,
        strength,
        title,
        f"The learning rate {verb} {change_in_words(steps)} {count_of(context, steps)}, {follows}{harm.words if harm else ''}.",
        detail=detail,
        score=0.9 if strength == "proved" else 0.8 if strength == "likely" else 0.5,
        boundaries=effect.boundaries,
        steps=tuple(int(run.step[s.row]) for s in acting[:50]),
        share=effect.share,
        explains_jump=not (later and context.pooled.direction < 0),
        evidence=tuple(evidence),
        against=tuple(against),
        missing=() if scheduler_class(context) or detail == "step" else ("writer.watch(scheduler=scheduler)",),
        advice=ADVICE_HARMED[detail] if harm is not None and kind == "fault" else ADVICE[detail],
        fix=lr_fix(context, detail, acting[0], harmed=harm is not None),
        confirm=(
            f"Repeat from step {max(0, int(run.step[row]) - 1):,} with the LR left at {number(acting[0].before)}: "
            f"the loss must not {'rise' if slow else 'jump'} then."
        ),
    )


def _kind(context: Context, detail: str, steps: Sequence[LrStep], *, harmed: bool) -> tuple[Kind, list[Evidence]]:
    """(kind, what decides between planned and fault); `harmed` if the loss never comes back."""
    noted = [event for event in (planned_at(context.run, s.row) for s in steps) if event is not None]
    if noted:
        return "planned", [Evidence(f"somebody noted the change: {noted[0].text or 'config_change'}")]
    if detail == "warm_up":
        return "planned", [Evidence("the rise begins with the run, as a warm-up does", "lr")]
    if detail == "step" and all(replaced_at(context.run, s.row, "optimizer") is not None for s in steps):
        return "planned", [
            Evidence("a new optimiser took over at the same row; its LR is on another scale than that of the old one")
        ]
    if detail != "warm_restart":
        return "fault", []
    bad, complete, short = cycles_lost(context, steps)
    declared = scheduler_class(context) in RESTARTING
    if not complete:
        return ("fault" if harmed else "planned"), [Evidence(_unjudged(short), "lr")]
    cycles = f"{plural(complete, 'cycle')} after a restart"
    said = f"the loss does not come back to its level by the end of {bad} of {cycles}"
    if not bad:
        said = f"the loss is back at its level by the end of {'each of ' if complete > 1 else ''}{cycles}"
    return ("fault" if harmed or (2 * bad > complete and not declared) else "planned"), [Evidence(said, "loss")]


def _unjudged(short: int) -> str:
    """Why no cycle after a restart says whether the loss comes back; `short` of them are complete."""
    if not short:
        return "no cycle after a restart is complete yet"
    are = "is" if short == 1 else "are"
    return f"{plural(short, 'cycle')} after a restart {are} too short to tell whether the loss comes back"


def _aside(context: Context, steps: Sequence[LrStep], *, alone: bool) -> Finding:
    """A reset that the loss ignores; `alone` if the LR rises nowhere else, as a schedule with a short period would."""
    run = context.run
    certain = alone and is_certain_reset(context, steps)
    return Finding(
        ID,
        "fault" if certain else "benign",
        "proved" if certain else "possible",
        "Scheduler starts again, without effect so far",
        f"The learning rate is set back {change_in_words(steps)} at {places(context, steps)}, harmless so far: "
        "the loss does not rise with it. A schedule that was meant for the whole training never gets to its end.",
        detail="scheduler_reset",
        score=0.3,
        steps=tuple(int(run.step[s.row]) for s in steps[:50]),
        explains_jump=False,
        evidence=(
            Evidence(f"the LR rises {change_in_words(steps)} in one step", steps[0].column),
            *about_scheduler(context, "scheduler_reset", steps),
        ),
        against=(Evidence(_unseen(context, steps), "loss"),),
        advice="If the LR is meant to fall over the whole training, build the scheduler once, before the epochs.",
        fix=lr_fix(context, "scheduler_reset", steps[0], harmed=False),
        confirm="Plot the LR over the whole run: it must fall once, not once an epoch.",
    )


def _unseen(context: Context, steps: Sequence[LrStep]) -> str:
    """How large a rise could be and stay within what cuts nearby do."""
    high = np.array([context.boundaries[s.boundary].placebo_high for s in steps if s.boundary is not None])
    limit = median(high)
    if not limit > 0:
        return "the loss does not rise at these rows beyond noise"
    return f"the loss does not rise at these rows beyond noise; cuts nearby rise by up to {number(limit, 2)} without any cause"
