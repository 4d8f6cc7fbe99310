"""What a logged running mean does at the boundaries, beside the loss of the batch."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import signed


def beside_the_batch_loss(context: Context) -> tuple[str, bool]:
    """(a clause on both, whether the logged mean jumps and the loss of the batch does not)."""
    logged = context.run.float("logged_loss")
    moves = median(np.array([logged[b.batch] - logged[b.batch - 1] for b in context.boundaries]))
    said = f": by {signed(moves)} in the median" if math.isfinite(moves) else ""
    if not said or context.pooled.reason or context.pooled.direction or any(b.significant for b in context.boundaries):
        return said, False
    return f"{said}; the batch loss does not", True
