"""Changes of the learning rate that come together with others: which of a set moves the loss cannot be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tb_losslens.analysis.change_set import ChangeSet, change_sets
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.lr_steps import LrStep
from tb_losslens.analysis.text import some


def changed_with(context: Context, steps: Sequence[LrStep], *, least: int = 1) -> dict[int, tuple[str, ...]]:
    """What the recorder saw change at the rows of `steps` besides, by row; only where that are `least` things or more.

    Another scheduler is what sets the LR, and no other thing. Another optimiser is one: its LR is on a scale of its own.
    """
    sets = change_sets(context.run, context.epochs, context.boundaries)
    found = {step.row: _others(sets[step.boundary]) for step in steps if step.boundary is not None and step.boundary in sets}
    return {row: others.seen for row, others in found.items() if len(others.things) >= least}


def not_chosen(mixed: Mapping[int, tuple[str, ...]]) -> str:
    """That none of these changes is chosen, in words."""
    lines = dict.fromkeys(line for seen in mixed.values() for line in seen)
    return f"and with it {some(list(lines), 3)}: none of them is chosen, see `planned_change`"


def _others(one: ChangeSet) -> ChangeSet:
    return ChangeSet(tuple(line for line in one.seen if not line.startswith("scheduler") and "lr" not in line.split()))
