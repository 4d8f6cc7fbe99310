"""Whether a decay of the learning rate ended the training long before its last batch, while the loss was still falling.

A step takes as much off the loss as its learning rate allows, so the way of a training is measured in learning rates added up
rather than in batches: where a decay leaves next to nothing for most of the batches, these stand still, whatever was to come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.downhill import Downhill, downhill
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.lr_unit import steps_counted
from tb_losslens.analysis.stats import Floats, mean, noise
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Decay:
    """A decay that is over early, and the training loss before and after.

    Attributes:
        row: first of the rows that have next to nothing of the learning rates added up.
        share: part of them that these rows have.
        peak, end: the highest learning rate, and the last one.
        fell: fall of the loss over the last third of the way before `row`.
        error: standard error of `fell`.
        coming: fall over as much of the way again, flattening as it did before.
        came: fall from the last third of the way before `row` to the last batches of the run.
        came_error: standard error of `came`.
        learned: fall from the first batches of the run to its last ones.
        level: mean loss of the last third of the way before `row`.
        late: the slope along the updates after `row`.
    """

    row: int
    share: float
    peak: float
    end: float
    fell: float
    error: float
    coming: float
    came: float
    came_error: float
    learned: float
    level: float
    late: Downhill

    def too_early(self, *, errors: float, least: float, most: float) -> bool:
        """It was falling by `errors`, a part of `least` of what was learned was to come, and less than `most` of that came."""
        falling = self.fell >= errors * self.error and self.coming >= least * self.learned > 0
        return falling and self.came + 2 * self.came_error <= most * self.coming and not self.late.errors > 0


def early_decay(run: Run, *, share: float = 0.05, rows: float = 0.6, least: int = 8) -> Decay | None:
    """The decay after which `rows` of the run and more have `share` of its learning rates added up, at most.

    None where there is none, where less than three times `least` batches lie before it, or where batches are missing.
    """
    rate, loss = filled(run.float("lr")), run.loss
    if len(rate) < 6 * least or not np.isfinite(rate).all() or rate.min() < 0 or not np.isfinite(loss).all():
        return None
    way = np.cumsum(rate)
    whole = float(way[-1])
    row = int(np.searchsorted(way, (1 - share) * whole)) + 1
    if not whole > 0 or row > (1 - rows) * len(run) or row < 3 * least or not run.continuous(0, len(run)):
        return None
    first, second = (int(np.searchsorted(way, part * way[row - 1])) + 1 for part in (1 / 3, 2 / 3))
    if min(first, second - first, row - second) < least:
        first, second = row // 3, 2 * row // 3
    levels = [mean(loss[a:b]) for a, b in ((0, first), (first, second), (second, row))]
    spread, size = _noise(loss[second:row]), row - second
    if not spread > 0:
        return None
    earlier, fell = levels[0] - levels[1], levels[1] - levels[2]
    keeps = min(1.0, max(0.0, fell / earlier)) if earlier > 0 else 1.0
    tail = max(size, (len(run) - row) // 3)
    last, after = mean(loss[-tail:]), _noise(loss[-tail:])
    return Decay(
        row, float(1 - way[row - 1] / whole), float(rate.max()), float(rate[-1]), fell,
        _noise(loss[first:row]) * math.sqrt(1 / size + 1 / (second - first)), fell * (keeps + keeps**2 + keeps**3),
        levels[2] - last, math.sqrt(spread**2 / size + after**2 / tail), mean(loss[: min(20, first)]) - last, levels[2],
        downhill(run, row, len(run)),
    )  # fmt: skip


def _noise(loss: Floats) -> float:
    """The noise from batch to batch, from all differences where half of them are 0, as those of a loss of few digits."""
    typical = noise(loss)
    return typical if typical > 0 else float(np.std(np.diff(loss))) / math.sqrt(2)


def each_batch(run: Run, *, most: float = 0.9) -> bool:
    """True if the scheduler was stepped once a batch: by its count, or by an LR that is another one in nearly every batch."""
    counts = steps_counted([epoch for epoch in run.epochs if epoch.fields.get("complete")])
    batches = float(np.median([len(epoch) for epoch in run.epochs])) if run.epochs else 0.0
    if counts:
        return bool(batches > 1 and float(np.median(counts)) >= most * batches)
    rate = filled(run.float("lr"))
    inside = [np.diff(rate[e.first : e.last]) for e in run.epochs[:2] if len(e) > 2]
    return bool(inside) and all(np.count_nonzero(one) >= most * len(one) for one in inside)
