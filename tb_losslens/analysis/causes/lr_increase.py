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
    Planned: a `config_change` beside it, a rise that begins with the run (warm-up), and restarts that the loss
    recovers from.

What to try:
    Build the scheduler once, step it in its own unit; raise the LR over some hundred steps.

When it is wrong:
    Where the LR rises at every boundary there is none to compare with, and what else happens at a boundary cannot be told from
    it; that is said. A rise without a move of the loss is at most possible, and no fault. `python -m demo.healthy`
    counts false alarms over several schedules. A cut that follows a
    rise of the loss is a reaction: `lr_decrease`.

References:
    Loshchilov and Hutter, SGDR, 2017. Goyal et al., Accurate, large minibatch SGD, 2017 (warm-up). PyTorch documentation,
    `torch.optim.lr_scheduler`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.changes import planned_at, replaced_at
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Kind, Strength
from tb_losslens.analysis.lr_effect import LrEffect, also_explained, change_in_words, comparison, effect_of, places
from tb_losslens.analysis.lr_steps import LrStep, lr_steps
from tb_losslens.analysis.schedule import (
    FALLING,
    RESTARTING,
    cycles_lost,
    is_certain_reset,
    rise_kind,
    scheduler_class,
    stepped_each_batch,
)
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
    rises = [step for step in lr_steps(context) if step.ratio >= least_ratio]
    if not rises:
        return [Checked(ID, "the learning rate never rises at once")]
    out: list[Outcome] = []
    groups: dict[str, list[LrStep]] = {}
    for step in rises:
        groups.setdefault(rise_kind(context, step, rises, most_boundaries=most_boundaries), []).append(step)
    for detail, steps in groups.items():
        effect = effect_of(context, steps, +1)
        if effect is not None:
            out.append(_finding(context, detail, steps, effect))
        elif detail == "scheduler_reset" and len(steps) > 1:
            out.append(_aside(context, steps))
    quiet = (
        f"the learning rate rises at {places(context, rises)} ({change_in_words(rises)}), with no rise of the loss beyond noise"
    )
    return out or [Checked(ID, quiet)]


def _finding(context: Context, detail: str, steps: Sequence[LrStep], effect: LrEffect) -> Finding:
    run = context.run
    acting = effect.steps
    row = acting[0].row
    proof, against = also_explained(context, effect.boundaries)
    evidence = [
        Evidence(
            f"the LR rises {change_in_words(acting)} at {places(context, acting)}, in one step",
            acting[0].column,
            (max(0, row - 10), row + 10),
        )
    ]
    supporting, contrary = comparison(context, effect, "raised")
    evidence += supporting
    against += contrary
    if not supporting:
        moved = f"the loss rises by {number(effect.level, 2)} there, beyond what other cuts show"
        evidence.append(Evidence(moved, "loss", (max(0, row - 10), row + 10)))
    evidence += _about_scheduler(context, detail, acting)
    kind, said = _kind(context, detail, acting)
    (evidence if kind == "fault" else against).extend(said)
    if len(steps) > len(acting):
        against.append(Evidence(f"at {len(steps) - len(acting)} other rises of the LR the loss does not go up", "lr"))
    strength: Strength = "likely"
    if detail == "scheduler_reset" and proof is None and is_certain_reset(context, acting):
        strength = "proved"
    elif proof is not None or (not effect.compared and detail == "step"):
        strength = "possible"
    count = f"{len(effect.boundaries)} of {plural(len(context.boundaries), 'boundary')}"
    where = f"at {count}" if effect.boundaries else f"at {places(context, acting)}"
    verb, title = _WORDS[detail]
    return Finding(
        ID,
        kind,
        strength,
        title,
        f"The learning rate {verb} {change_in_words(acting)} {where}, and the loss goes up with it.",
        detail=detail,
        score=0.9 if strength == "proved" else 0.8 if strength == "likely" else 0.5,
        boundaries=effect.boundaries,
        steps=tuple(int(run.step[s.row]) for s in acting[:50]),
        share=effect.share,
        evidence=tuple(evidence),
        against=tuple(against),
        missing=() if scheduler_class(context) or detail == "step" else ("writer.watch(scheduler=scheduler)",),
        advice=_ADVICE[detail],
        fix=_fix(context, detail, acting[0]),
        confirm=(
            f"Repeat from step {max(0, int(run.step[row]) - 1):,} with the LR left at {number(acting[0].before)}: "
            "without the rise the loss must not jump."
        ),
    )


_WORDS = {
    "step": ("is raised", "LR raised"),
    "warm_up": ("warms up", "LR warm-up"),
    "warm_restart": ("restarts", "LR restarts"),
    "scheduler_reset": ("is set back", "Scheduler starts again"),
}
_ADVICE = {
    "step": "Raise the LR over some hundred steps, or by less; check the factor.",
    "warm_up": "Nothing to mend: the LR warms up. A slower warm-up makes the rise of the loss smaller.",
    "warm_restart": "Expected of restarts. If the end of a cycle gets no better, restart lower or make cycles longer.",
    "scheduler_reset": "Build the scheduler once, before the epochs, for all steps of the training; save and load its state.",
}


def _about_scheduler(context: Context, detail: str, steps: Sequence[LrStep]) -> list[Evidence]:
    name = scheduler_class(context)
    said = []
    if detail == "scheduler_reset":
        first = number(steps[0].after)
        replaced = sum(replaced_at(context.run, s.row, "scheduler") is not None for s in steps)
        if all(s.initial for s in steps):
            said.append(Evidence(f"the new LR is the first one of the run, {first}, though the LR has been falling", "lr"))
        if replaced:
            said.append(
                Evidence(f"a new scheduler took the place of the old one at {replaced} of {plural(len(steps), 'such step')}")
            )
        elif name in FALLING:
            said.append(Evidence(f"{name} never raises the LR at once: it was built again or its state was lost"))
    elif detail == "warm_restart" and name in RESTARTING:
        said.append(Evidence(f"the scheduler is {name}, which restarts"))
    return said


def _kind(context: Context, detail: str, steps: Sequence[LrStep]) -> tuple[Kind, list[Evidence]]:
    """(kind, what decides between planned and fault)."""
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
    bad, complete = cycles_lost(context, steps)
    if not complete:
        return "planned", [Evidence("no cycle after a restart is complete yet", "lr")]
    said = f"the loss does not come back to its level by the end of {bad} of {plural(complete, 'cycle')} after a restart"
    return ("fault" if 2 * bad > complete else "planned"), [Evidence(said, "loss")]


def _aside(context: Context, steps: Sequence[LrStep]) -> Finding:
    run = context.run
    return Finding(
        ID,
        "planned",
        "possible",
        "Scheduler starts again",
        f"The learning rate returns to its first value {change_in_words(steps)} at {places(context, steps)}. "
        "The loss does not move with it.",
        detail="scheduler_reset",
        score=0.3,
        steps=tuple(int(run.step[s.row]) for s in steps[:50]),
        explains_jump=False,
        evidence=(
            Evidence(f"the LR rises {change_in_words(steps)} in one step", steps[0].column),
            *_about_scheduler(context, "scheduler_reset", steps),
        ),
        against=(Evidence("the loss does not move at these rows beyond noise", "loss"),),
        advice="If the LR is meant to fall over the whole training, build the scheduler once, before the epochs.",
        fix=_fix(context, "scheduler_reset", steps[0]),
        confirm="Plot the LR over the whole run: it must fall once, not once an epoch.",
    )


def _fix(context: Context, detail: str, step: LrStep) -> str:
    epochs = len(context.epochs)
    length = int(np.median([len(e) for e in context.epochs])) if epochs else 100
    at = int(context.run.step[step.row])
    low, high = f"{step.before:.3g}", f"{step.after:.3g}"
    if detail == "warm_up":
        return ""
    if detail == "warm_restart":
        return f"# {high} is too high to restart from: halve it\nscheduler.base_lrs = [lr / 2 for lr in scheduler.base_lrs]"
    if detail == "step":
        over = max(100, length)
        rise = f"{low} * ({high} / {low}) ** part" if step.before > 0 else f"{high} * part"
        return (
            f"# over {over} steps instead of all at step {at}\n"
            f"part = min(1.0, (step - {at}) / {over})\n"
            f'for group in optimizer.param_groups:\n    group["lr"] = {rise}'
        )
    name = scheduler_class(context) or "CosineAnnealingLR"
    batch = stepped_each_batch(context, step.column)
    arguments = "..." if name != "CosineAnnealingLR" else f"T_max={epochs} * {length}" if batch else f"T_max={epochs}"
    call = "        scheduler.step()" if batch else "    scheduler.step()"
    return (
        f"# once, before the epochs\nscheduler = {name}(\n    optimizer, {arguments})\n"
        f"for epoch in range({epochs}):\n    for x, y in train_loader:\n        ...\n{call}"
    )
