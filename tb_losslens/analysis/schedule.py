"""What a rise of the learning rate is: a warm-up, a restart, a scheduler that begins again, or a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.changes import replaced_at, restored_at
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.lr_steps import LrStep, filled
from tb_losslens.analysis.stats import Floats, mean
from tb_losslens.analysis.text import number, plural

RESTARTING = frozenset({"CosineAnnealingWarmRestarts", "CyclicLR"})
"""Schedulers that raise the LR at once on purpose."""

FALLING = frozenset(
    {
        "StepLR",
        "MultiStepLR",
        "ExponentialLR",
        "PolynomialLR",
        "CosineAnnealingLR",
        "ReduceLROnPlateau",
        "LinearLR",
        "OneCycleLR",
    }
)
"""Schedulers that never raise the LR at once while they live."""


def scheduler_class(context: Context) -> str:
    """Class of the LR scheduler as it was recorded, "" if unknown."""
    scheduler = context.run.facts.get("scheduler")
    return str(scheduler.get("class", "")) if isinstance(scheduler, dict) else ""


def rise_kind(context: Context, step: LrStep, rises: Sequence[LrStep], *, most_boundaries: float = 0.8) -> str:
    """What one of `rises` is: "warm_up", "warm_restart", "scheduler_reset" or "step" (a new level).

    A level that was there before, after lower ones, is a restart or a reset. It is a reset where the scheduler was
    replaced, where its class cannot raise the LR, or where an unknown one is back at its first LR at `most_boundaries` of
    all boundaries or right after a restore. Whether somebody meant it decides nothing here.
    """
    if step.warm_up:
        return "warm_up"
    if not step.back:
        return "step"
    name = scheduler_class(context)
    new = any(replaced_at(context.run, step.row, what) is not None for what in ("scheduler", "optimizer"))
    if new or (step.initial and name in FALLING):
        return "scheduler_reset"
    if name in RESTARTING:
        return "warm_restart"
    back = [r for r in rises if r.back and r.initial and r.boundary is not None]
    each_epoch = len(back) >= max(2, most_boundaries * len(context.boundaries))
    if step.initial and (each_epoch or restored_at(context.run, step.row) is not None):
        return "scheduler_reset"
    return "warm_restart" if len([r for r in rises if r.back]) > 1 else "step"


def is_certain_reset(context: Context, steps: Sequence[LrStep]) -> bool:
    """True if the LR is back at exactly its first value twice or more, by a scheduler that cannot do that while it lives."""
    exact = all(abs(s.after - filled(context.run.float(s.column))[0]) <= 1e-6 * s.after for s in steps)
    new = all(any(replaced_at(context.run, s.row, what) for what in ("scheduler", "optimizer")) for s in steps)
    return len(steps) > 1 and exact and (new or scheduler_class(context) in FALLING)


def cycles_lost(
    context: Context, steps: Sequence[LrStep], *, regained: float = 0.5, window: int = 20, least: int = 5
) -> tuple[int, int, int]:
    """(complete cycles after a restart that end with less than `regained` of the jump won back, complete cycles, short ones).

    The last cycle is complete if its LR came down about as far as before the restart. A jump below the noise of a mean over
    its window (3 sigma) counts as that much. The window is `window` batches, or a quarter of a shorter cycle; a cycle is too
    short to be judged where that is less than `least`.
    """
    loss: Floats = context.run.loss
    ends = [*(s.row for s in steps[1:]), len(loss)]
    bad = complete = short = 0
    for step, end in zip(steps, ends, strict=True):
        lr = filled(context.run.float(step.column))[step.row : end]
        if end == len(loss) and lr[-1] > 2 * step.before + 0.05 * step.after:
            continue
        size = min(window, len(lr) // 4)
        if size < least:
            short += 1
            continue
        before = mean(loss[max(0, step.row - size) : step.row])
        jump = max(mean(loss[step.row : step.row + size]) - before, 3 * context.noise / size**0.5)
        complete += 1
        bad += not mean(loss[end - size : end]) - before <= (1 - regained) * jump
    return bad, complete, short


def stepped_each_batch(context: Context, column: str) -> bool:
    """True if the LR changes within the first epoch."""
    if not context.epochs:
        return True
    first = context.epochs[0]
    return len(np.unique(filled(context.run.float(column))[first.first : first.last])) > 2


def about_scheduler(context: Context, detail: str, steps: Sequence[LrStep]) -> list[Evidence]:
    """What the scheduler says of rises called `detail`: its class, and whether it was replaced there."""
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
