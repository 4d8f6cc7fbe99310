"""Whether the loss depends on the position in the epoch, and whether that is what the boundaries show.

The order that a sampler leaves may be one by how hard the samples are, which no class mix tells. The loss itself does: folded
over the epochs, position by position. Learning makes a loss fall, never rise within each epoch.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.stats import finite, mean, median
from tb_losslens.analysis.text import p_value, signed
from tb_losslens.analysis.whole import is_whole


@dataclass(frozen=True)
class Profile:
    """The loss by position in the epoch.

    Attributes:
        epochs: epochs compared, without the first one, which falls for another reason.
        p: of Friedman's test that the blocks of an epoch have no order that its other epochs share.
        within: median change of the loss from the start to the end of an epoch, in units of the loss.
        same_sign: epochs in which it has the sign of `within`.
        jump: median jump at the boundaries that these epochs lie between.
    """

    epochs: int
    p: float
    within: float
    same_sign: int
    jump: float

    @property
    def undone(self) -> float:
        """Part of the jump that the loss has gone back by the end of the epoch, 0..1: what position accounts for."""
        if not math.isfinite(self.within) or not self.jump:
            return 0.0
        return float(np.clip(-self.within / self.jump, 0.0, 1.0))

    def explains(self, *, least: float = 0.5, level: float = 0.01) -> bool:
        """True if the boundaries undo what each epoch does from its start to its end."""
        return self.undone >= least and self.p < level and self.same_sign == self.epochs

    def in_words(self) -> Evidence:
        """What the loss does within the epochs, beside what it does at the boundaries."""
        if not self.explains():
            within = f"what the loss does within the epochs ({signed(self.within)})"
            return Evidence(f"the boundaries ({signed(self.jump)}) do not take back {within}", "loss")
        sure = f"{p_value(self.p)}, the same way in {self.same_sign} of {self.epochs} epochs"
        moved = f"from the start to the end of an epoch the loss moves by {signed(self.within)} ({sure})"
        return Evidence(f"{moved}, at the boundary by {signed(self.jump)}", "loss")


def profile(context: Context, *, blocks: int = 8, least_epochs: int = 3) -> Profile | None:
    """Folds the epochs after the first one; None with fewer than `least_epochs` of `blocks` batches or more.

    References:
        Friedman, The use of ranks to avoid the assumption of normality, 1937 (blocks of an epoch, ranked within it).
    """
    rows, within = [], []
    by_index = {b.index: b for b in context.boundaries}
    for k, epoch in enumerate(context.epochs):
        loss = context.run.loss[epoch.first : epoch.last]
        before, after = by_index.get(k - 1), by_index.get(k)
        if k == 0 or len(loss) < blocks or before is None or not is_whole(context.run, epoch):
            continue
        levels = [mean(part) for part in np.array_split(loss, blocks)]
        if not np.isfinite(levels).all():
            continue
        rows.append(levels)
        end = after.before if after is not None else mean(loss[-before.m :])
        within.append(end - before.after)
    known = finite(np.array(within))
    if len(rows) < least_epochs or len(known) < least_epochs:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns on ties
        from scipy.stats import friedmanchisquare

        p = float(friedmanchisquare(*np.array(rows).T).pvalue)
    change = median(known)
    same = int((known * change > 0).sum())
    jump = median(np.array([b.jump for b in context.boundaries]))
    return Profile(len(known), p if math.isfinite(p) else 1.0, change, same, jump)
