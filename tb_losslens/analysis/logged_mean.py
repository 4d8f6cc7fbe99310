"""What a logged running mean does at the boundaries, beside the loss of the batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import signed


class Repair(NamedTuple):
    """The last three texts of a finding."""

    advice: str
    fix: str
    confirm: str


TAKEN_APART = Repair(
    "Log the loss of the batch and let the chart smooth it. All other tests were made on the curve taken apart.",
    'writer.log_batch(loss)     # or: writer.add_scalar("Loss/train", loss.item(), step)',
    "Log the loss of the batch beside it for one epoch and compare.",
)
"""What to do where the loss of the batch is not known."""

RECORDED_BESIDE = Repair(
    "Read the loss of the batch, which was recorded beside it and which all other tests were made on; let the chart smooth it.",
    'writer.add_scalar("Loss/train", loss.item(), step)     # in place of the mean, where the chart is to show it',
    "Look at the loss of the batch at the same boundaries, on the tab's chart.",
)
"""The same where it is known."""


def beside_the_batch_loss(context: Context) -> tuple[str, bool]:
    """(a clause on both, whether the logged mean jumps and the loss of the batch does not)."""
    logged = context.run.float("logged_loss")
    moves = median(np.array([logged[b.batch] - logged[b.batch - 1] for b in context.boundaries]))
    said = f": by {signed(moves)} in the median" if math.isfinite(moves) else ""
    if not said or context.pooled.reason or context.pooled.direction or any(b.significant for b in context.boundaries):
        return said, False
    return f"{said}; the batch loss does not", True
