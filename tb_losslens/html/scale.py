"""From a value to its place on an axis: a linear or a logarithmic scale, its ticks and what they are called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.text import number

Floats = NDArray[np.float64]
_LARGEST = 1e290
"""Beyond it the length of an axis would overflow."""


@dataclass(frozen=True)
class Scale:
    """An upright axis of `height` pixels from `low` (at the bottom) to `high`.

    Attributes:
        log: the axis is logarithmic; `low` is then positive.
        cut: some values lie above `high`, and are drawn at the edge.
    """

    low: float
    high: float
    height: float
    log: bool = False
    cut: bool = False

    def at(self, values: Floats | float) -> Floats:
        """Distance from the top in pixels; beyond the axis its edge, NaN stays NaN."""
        v = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            v, low, high = np.log10(v), math.log10(low), math.log10(high)
        return np.asarray(self.height * (1 - (v - low) / (high - low)))

    def ticks(self, about: int = 5) -> list[float]:
        """At most some more than `about` round numbers on the axis, from the bottom to the top."""
        return _log_ticks(self.low, self.high, about) if self.log else _linear_ticks(self.low, self.high, about)


def scale_of(
    level: Floats,
    height: float,
    *,
    low: Floats | None = None,
    high: Floats | None = None,
    decades: float = 30.0,
    spike: float = 4.0,
) -> Scale:
    """The scale on which a curve is best read.

    It is logarithmic where the curve is positive and falls or rises by more than `decades` times, or has a spike. A spike
    reaches `spike` times as far as 98 % of the values do; where the axis cannot be logarithmic, it is cut.

    Args:
        level: the curve, shape (n,); NaN is left out.
        height: of the axis in pixels.
        low: lower edge of what is drawn around it; the curve itself by default.
        high: upper edge.
        decades: ratio of the highest to the lowest level from which on the axis is logarithmic.
        spike: see above.
    """
    level, lows, highs = (_known(v) for v in (level, level if low is None else low, level if high is None else high))
    if not len(level):
        return Scale(0.0, 1.0, height)
    bottom, top = float(lows.min()), float(highs.max())
    usual = float(np.quantile(np.concatenate([highs, level]), 0.98))
    far = top - bottom > spike * max(usual - bottom, 0.0) and usual > bottom
    least = float(level.min())
    if least > 0 and (level.max() >= decades * least or (far and top >= decades * least)):
        bottom = bottom if bottom > 0.01 * least else least
        return Scale(bottom / 1.1, top * 1.1, height, log=True)
    cut = far
    if cut:
        top = usual + 0.5 * (usual - bottom)
    room = 0.04 * (top - bottom) or 0.1 * abs(top) or 1.0
    floor = 0.0 if 0 <= bottom < 0.3 * top else bottom - room
    return Scale(floor, top + room, height, cut=cut)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """What evenly spaced ticks are called: all with the decimals that their distance needs; others each by themselves."""
    if len(ticks) > 2 and math.isclose(ticks[1] - ticks[0], ticks[-1] - ticks[-2], rel_tol=1e-6):
        largest, apart = max(map(abs, ticks)), ticks[1] - ticks[0]
        if 1e-4 <= largest < 1e6 and apart >= 1e-4:
            places = max(0, -math.floor(math.log10(apart) + 1e-9))
            return [f"{tick:,.{places}f}".replace("-", "\u2212") for tick in ticks]
    return [number(tick).replace("-", "\u2212") for tick in ticks]


def _known(values: Floats) -> Floats:
    v = np.asarray(values, dtype=np.float64)
    return np.clip(v[np.isfinite(v)], -_LARGEST, _LARGEST)


def _linear_ticks(low: float, high: float, about: int) -> list[float]:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999) * power
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float, about: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside = [10.0**k for k in range(first, last + 1) if low <= 10.0**k <= high]
    if len(inside) < 3:
        ticks = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
        return [tick for tick in ticks if low <= tick <= high]
    every = -(-len(inside) // about)
    return [tick for tick in inside if round(math.log10(tick)) % every == 0]
