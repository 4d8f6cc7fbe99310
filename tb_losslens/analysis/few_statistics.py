"""Whether BatchNorm normalised the last batches with statistics unlike those of the others, because they hold few samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.last_batches import LastBatches
from tb_losslens.analysis.stats import Floats, finite, median
from tb_losslens.analysis.text import number, p_value
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class FewStatistics:
    """What BatchNorm did in the last batches.

    Attributes:
        gap: median distance of the running mean from the mean of a last batch, in standard deviations of that batch; NaN where
            it was not read.
        usual: the same in the other batches.
        higher: one-sided p of the signed-rank test that the loss of the last batches is no higher than that before them.
        excess: median of their loss over the level before, less 1.
    """

    gap: float
    usual: float
    higher: float
    excess: float

    @property
    def read(self) -> bool:
        """True if the statistics are known to lie apart, and not only that there is a layer that takes them."""
        return self.gap == self.gap

    def shows(self, *, level: float = 0.01, least: float = 0.1) -> bool:
        """True if the loss of the last batches is higher, by a test and by `least` of the level.

        Few samples of a skewed loss mostly lie below its mean, which makes this test the stricter.
        """
        return self.higher < level and self.excess > least

    def in_words(self, n: float) -> list[Evidence]:
        """The statistics, and what the loss shows of them."""
        said = f"BatchNorm takes mean and spread of the last batch from {n:,.0f} samples"
        if self.read:
            apart = f"lies {number(self.gap, 2)} sd of that batch from its mean, in other batches {number(self.usual, 2)}"
            said += f": the running mean {apart}"
        lines = [Evidence(said, "bn_mean_gap" if self.read else "batch_size")]
        if self.shows():
            how = f"{number(1 + self.excess, 2)} times the level before it ({p_value(self.higher)})"
            lines.append(Evidence(f"its loss is {how}, in the median over the epochs", "loss"))
        return lines


def few_statistics(
    run: Run, last: LastBatches, *, fold: float = 2.0, level: float = 0.05, plainly: float = 0.5
) -> FewStatistics | None:
    """What BatchNorm did in the last batches; None where it saw statistics as in the others, or used none of the batch.

    A network that normalises over many places of each sample, as a convolutional one does, has better statistics from few
    samples; one that is frozen, or in eval mode, uses none of the batch. That fewer samples have statistics further off is no
    hypothesis, so that one batch that was looked into is enough. Where none was, a network that is known to have such layers
    is taken by what its loss shows. So is one whose means lie no further off, if the loss shows it `plainly`: the running
    means say little of the spread that two samples have.

    Args:
        run: with `bn_mean_gap` near the boundaries.
        last: its small last batches.
        fold: times the usual distance.
        level: of the rank test that compares the distances.
        plainly: excess of the loss that needs no distance beside it.
    """
    model = run.facts.get("model")
    has = isinstance(model, dict) and bool(model.get("batchnorm")) and bool((run.float("train_mode")[last.row] == 1).all())
    by_loss = FewStatistics(np.nan, np.nan, *_loss(last)) if has else None
    gap = _widest(run)
    here = finite(gap[last.row])
    # the running statistics start anywhere: the first epoch says nothing
    rest = finite(np.delete(gap, last.row)[int(last.row[0]) :])
    if len(here) and len(rest) >= 20:
        from scipy.stats import mannwhitneyu

        apart = float(mannwhitneyu(here, rest, alternative="greater").pvalue)
        if not median(here) >= fold * median(rest) or apart >= level:
            return by_loss if by_loss is not None and by_loss.shows(least=plainly) else None
        return FewStatistics(median(here), median(rest), *_loss(last))
    return by_loss


def _loss(last: LastBatches, *, least: int = 5) -> tuple[float, float]:
    """`higher` and `excess` of the last batches."""
    off = finite(last.off / last.error)
    off = off[off != 0]
    higher = 1.0
    if len(off) >= least:
        from scipy.stats import wilcoxon

        higher = float(wilcoxon(off, alternative="greater").pvalue)
    positive = last.level > 0
    return higher, median(last.off[positive] / last.level[positive]) if positive.any() else 0.0


def _widest(run: Run) -> Floats:
    """`bn_mean_gap` of the layer where it is largest, shape (n,); NaN where it was not read."""
    out = np.full(len(run), np.nan)
    gaps = run.ragged.get("bn_mean_gap")
    if gaps is None:
        return out
    for row in np.flatnonzero(np.diff(gaps.offsets) > 0).tolist():
        known = finite(gaps[row])
        if len(known):
            out[row] = known.max()
    return out
