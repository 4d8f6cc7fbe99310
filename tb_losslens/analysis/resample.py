"""The two windows of a boundary drawn again, for an interval around each part of a jump.

Method: a bootstrap over batches (Efron, 1979), stratified: in each draw the batches of either window are drawn again with
replacement, as many as there are, and every part is computed from the same draw, so that the parts add up to the jump in each.
What a part rests on besides the windows, as the loss of a class that was fitted to other batches, varies with its own standard
error. The interval is the middle 95 % of the draws. Few batches give too narrow a bootstrap: distances from the estimate are
widened by `sqrt(m / (m - 1))` and by Student's quantile over that of the normal law. Batches count as independent: a loss that
still falls within a window makes the interval wider, and one that hangs together from batch to batch would need a wider one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tb_losslens.analysis.stats import Floats

LEVEL = 0.95
_VALUES = 4_000_000
"""Counts that are held for one window: of very wide windows fewer draws are made."""


@dataclass(frozen=True)
class Draws:
    """How often each batch of the two windows is in each draw.

    Attributes:
        before, after: float64, shape (draws, batches of that window). The first draw has each batch once.
        wider: factor on distances from the estimate.
        rng: for what a part rests on besides the windows.
    """

    before: Floats
    after: Floats
    wider: float
    rng: np.random.Generator

    def __len__(self) -> int:
        return len(self.before)

    def difference(self, before: Floats, after: Floats, *, weight: tuple[Floats, Floats] | None = None) -> Floats:
        """Mean of `after` less mean of `before` in each draw, shape (draws,).

        Args:
            before: one value for each batch of the window, shape (m,); NaN is left out.
            after: the same for the other window.
            weight: what each batch counts; 1 by default.
        """
        first, second = (None, None) if weight is None else weight
        return _mean(self.after, after, second) - _mean(self.before, before, first)

    def normal(self, sigma: float) -> Floats:
        """Errors of this standard deviation, shape (draws,); the first one is 0."""
        out = self.rng.normal(0.0, sigma, len(self)) if math.isfinite(sigma) and sigma > 0 else np.zeros(len(self))
        out[0] = 0.0
        return out

    def interval(self, value: float, drawn: Floats) -> tuple[float, float]:
        """The interval around `value`; `drawn` has the draws of its estimate, the first one that of the windows themselves."""
        away = drawn[1:] - drawn[0]
        known = away[np.isfinite(away)]
        if not math.isfinite(drawn[0]) or 2 * len(known) < len(away):
            return math.nan, math.nan
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return value + self.wider * min(0.0, float(low)), value + self.wider * max(0.0, float(high))


def draw(batches: tuple[int, int], *, seed: int, draws: int = 999, least: int = 3) -> Draws | None:
    """The draws for windows of so many batches; None below `least` in either, where nothing can be said of their spread."""
    few = min(batches)
    if few < least:
        return None
    count = max(199, min(draws, _VALUES // max(batches)))
    rng = np.random.default_rng(seed)
    first, second = (_counts(rng, m, count) for m in batches)
    freedom = sum(batches) - 2
    student = float(special.stdtrit(freedom, (1 + LEVEL) / 2) / special.ndtri((1 + LEVEL) / 2))
    return Draws(first, second, math.sqrt(few / (few - 1)) * student, rng)


def once(before: int, after: int) -> Draws:
    """The windows themselves, of so many batches, as the only draw."""
    return Draws(np.ones((1, before)), np.ones((1, after)), 1.0, np.random.default_rng(0))


def _counts(rng: np.random.Generator, m: int, draws: int) -> Floats:
    drawn: NDArray[np.int64] = rng.multinomial(m, np.full(m, 1 / m), size=draws)
    return np.concatenate([np.ones((1, m)), drawn.astype(np.float64)])


def _mean(counts: Floats, values: Floats, weight: Floats | None) -> Floats:
    known = np.isfinite(values)
    heavy = counts[:, known] if weight is None else counts[:, known] * weight[known]
    total = heavy.sum(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        summed = heavy @ values[known]
        out: Floats = np.divide(summed, total, out=np.full(len(counts), np.nan), where=total > 0)
    return out
