"""What is said of a rise of the learning rate, by what kind of rise it is."""

from __future__ import annotations

from collections.abc import Sequence

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.lr_effect import LrEffect
from tb_losslens.analysis.lr_steps import LrStep
from tb_losslens.analysis.text import number

WORDS = {
    "step": ("is raised", "LR raised"),
    "warm_up": ("warms up", "LR warm-up"),
    "warm_restart": ("restarts", "LR restarts"),
    "scheduler_reset": ("is set back", "Scheduler starts again"),
}
ADVICE = {
    "step": "Raise the LR over some hundred steps, or by less; check the factor.",
    "warm_up": "Nothing to mend: the LR warms up. A slower warm-up makes the rise of the loss smaller.",
    "warm_restart": "Expected of restarts. If the end of a cycle gets no better, restart lower or make cycles longer.",
    "scheduler_reset": "Build the scheduler once, before the epochs, for all steps of the training; save and load its state.",
}
ADVICE_HARMED = {
    **ADVICE,
    "step": "Stay at an LR that the run was stable with; if it must rise, by small factors and slowly.",
    "warm_restart": "The LR that it restarts from is too high for this run: restart lower.",
    "scheduler_reset": "Build the scheduler once, before the epochs, and begin lower: its first LR is too high as well.",
}


def only_later(context: Context, effect: LrEffect) -> bool:
    """True if the loss falls at the boundaries themselves, and rises over the batches that follow."""
    jumps = [context.boundaries[k].jump for k in effect.boundaries]
    return not effect.slow and len(jumps) == len(effect.steps) and max(jumps, default=0.0) < 0


def some_of(acting: Sequence[LrStep], steps: Sequence[LrStep]) -> str:
    """At how many of the rises the loss goes up, "" where it does at each."""
    return f"at {len(acting):,} of them " if len(acting) < len(steps) else ""


def rises_how(effect: LrEffect, some: bool, *, later: bool, slow: bool) -> str:
    """What the loss does there: `some` if not at each of the rises, `later` and `slow` if not at the boundary itself."""
    if slow and not some:
        return "rises over the epoch after it"
    if later:
        return f"rises by {number(effect.level, 2)} over the batches that follow (not at the boundary itself)"
    return "goes up with it beyond noise" if some else "goes up with it"
