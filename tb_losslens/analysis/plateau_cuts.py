"""What each cut of a ReduceLROnPlateau met: was the training still going downhill, and what came of it afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.downhill import Downhill, downhill, fall, flattening
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.plateau import Followed, Settings
from tb_losslens.analysis.stats import Floats, mean, noise, rank_correlation
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Cut:
    """One cut and the training loss around it.

    Attributes:
        row: first row with the lower LR.
        first: first row with the LR before.
        best: first row after the step with the best metric until then: since then it counted as a plateau.
        before, after: the two LRs.
        slope: along the updates of the second half of the batches with the LR before, or by their losses.
        coming: fall that this slope would have brought in the batches that were left, or in as many as there had been,
            flattening as it did before.
        came: fall from the level before to that of the last batches of the run.
        went: the same by the slope along the updates after the cut, else by that before it and the LRs that followed.
        drop: fall from the level before to that of the next batches, up to the next cut.
        level: loss of the batches before.
        error: standard error of `came` and `drop`.
        stood: fall of the loss within the plateau, from its first half to its second.
        learned: fall from the first batches of the run to its lowest level.
    """

    row: int
    first: int
    best: int
    before: float
    after: float
    slope: Downhill
    coming: float
    came: float
    went: float
    drop: float
    level: float
    error: float
    stood: float
    learned: float

    def too_eager(self, *, errors: float, least: float, most: float) -> bool:
        """It went downhill, a part of `least` of what was learned was to come, and less than `most` of that came."""
        down = self.slope.errors <= -errors and self.coming >= least * self.learned
        # the slope tells what little came more sharply than two levels of a noisy loss do
        little = self.came - 2 * self.error <= most * self.coming and self.went <= most * self.coming
        return down and (little or self.came + 2 * self.error <= most * self.coming)

    def too_late(self, rows: int, *, least: float, kept: float) -> bool:
        """For `kept` of all `rows` the loss stood still, and a part of `least` of what was learned came with the cut."""
        stood = self.row - self.best >= kept * rows and self.stood <= max(2 * self.error, 0.1 * self.drop)
        downhill = not self.slope.by_loss and self.slope.errors < -3
        return stood and not downhill and self.drop >= max(least * self.learned, 6 * self.error)


def cuts_of(run: Run, settings: Settings, one: Followed) -> list[Cut]:
    """Every cut that can be measured, in order."""
    rows = [int(one.rows[k]) for k in one.cuts]
    found = []
    for number, (k, row) in enumerate(zip(one.cuts, rows, strict=True)):
        first = rows[number - 1] if number else 0
        end = rows[number + 1] if number + 1 < len(rows) else len(run)
        best = int(one.rows[max(0, k - settings.patience - 1)])
        cut = cut_at(run, first, row, end, best)
        if cut is not None:
            found.append(cut)
    return found


def cut_at(run: Run, first: int, row: int, end: int, best: int, *, least: int = 4) -> Cut | None:
    """The cut at `row` of an LR that held since `first`, where the next change is at `end`.

    None with less than `least` batches before or after it, or where some are missing.
    """
    rate, loss, size = filled(run.float("lr")), run.loss, max(least, (row - first) // 3)
    if min(row - first, len(run) - row, end - row) < least or not run.continuous(first, len(run)):
        return None
    level, last = mean(loss[max(first, row - size) : row]), mean(loss[max(row, len(run) - size) :])
    error = noise(loss[first:row]) * math.sqrt(2 / min(size, len(run) - row, end - row))
    start, middle = mean(loss[: max(3, min(20, size))]), (best + row) // 2
    if not all(map(math.isfinite, (level, last, error, start))):
        return None
    slope = _slope(run, first, row)
    worth = _worth(min(len(run) - row, row - first), row - first, flattening(run, first, row))
    return Cut(
        row, first, best, float(rate[row - 1]), float(rate[row]), slope, -slope.mean * worth, level - last,
        _went(run, row, slope, rate), level - mean(loss[row : min(end, row + size)]), level, error,
        mean(loss[best:middle]) - mean(loss[middle:row]), max(0.0, start - min(level, last)),
    )  # fmt: skip


def _worth(rows: int, before: int, part: float) -> float:
    """Batches of the full slope that `rows` are worth, if each third of the rows `before` falls by `part` of the last one."""
    third = before / 3
    return sum(part**k * min(third, rows - (k - 1) * third) for k in (1, 2, 3) if rows > (k - 1) * third)


def _slope(run: Run, first: int, row: int) -> Downhill:
    """Along the updates, or by the losses where these are clearer and say no other than the updates."""
    along, losses = downhill(run, (first + row) // 2, row), fall(run, first, row)
    if not math.isfinite(losses.mean) or along.errors > 0:
        return along
    return losses if losses.errors < along.errors or not math.isfinite(along.mean) else along


def _went(run: Run, row: int, slope: Downhill, rate: Floats) -> float:
    """What the updates after `row` took off the loss: along a descent that flattens, at most what their LRs allow."""
    after = downhill(run, row, len(run))
    if math.isfinite(after.mean):
        return -after.mean * (len(run) - row)
    return -slope.mean * float(rate[row:].sum() / rate[row - 1]) if rate[row - 1] > 0 else math.nan


def generalises(
    run: Run, row: int, learned: float, *, first: int = 0, least: int = 4, falls: float = 0.7, part: float = 0.3,
    near: float = 0.25,
) -> bool:  # fmt: skip
    """True if what is learned holds for other samples: the held-out loss falls on after `row`, or went along until then.

    A training that learns its samples by heart goes downhill as well, and a cut may be right there. The held-out loss must go
    on falling, by `part` of what the training loss falls by there, or more. Where the cuts left nothing to fall, it is enough
    that the two losses lie no further apart after `row` than `near` of what was `learned`, with two standard errors; or, where
    the held-out loss is too noisy for that, that no more than half of it may be missing and the fall until then came from other
    samples (`by_transfer`, of the rows from `first` on).
    """
    after = [v for v in run.validations if v.batch > row and math.isfinite(v.value)]
    if len(after) < least:
        return False
    values = np.array([v.value for v in after])
    apart = float(values.mean()) - mean(run.loss[row : after[-1].batch])
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    if learned > 0 and apart + 2 * error <= near * learned:
        return True
    if learned > 0 and apart <= 2 * near * learned and apart <= 2.5 * error and by_transfer(run, first, row) >= 0.5:
        return True
    rho, _ = rank_correlation(np.arange(len(values)), values)
    trained = downhill(run, after[0].batch, after[-1].batch)
    fell = -trained.mean * (after[-1].batch - after[0].batch)
    return rho <= -falls and not values[0] - values[-1] < part * fell


def by_transfer(run: Run, first: int, last: int, *, errors: float = 5.0) -> float:
    """Part of the fall of the loss over these rows that the updates made on other samples account for; 0 where it is not clear.

    The slope along an update, as the next batch sees it, is what samples gain from others than themselves. Learning by heart
    lowers the loss of the samples of an update alone, and shows when these come again.

    References:
        Fort et al., Stiffness: a new perspective on generalization in neural networks, 2019.
    """
    along, size = downhill(run, first, last), max(1, (last - first) // 4)
    fall = mean(run.loss[first : first + size]) - mean(run.loss[last - size : last])
    if along.errors > -errors or not math.isfinite(fall):
        return 0.0
    return min(1.0, -along.mean * (last - first) * 0.75 / fall) if fall > 0 else 1.0
