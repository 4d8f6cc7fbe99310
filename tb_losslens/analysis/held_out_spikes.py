"""Where the held-out loss leaves its level upwards at once, and whether it comes back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.held_out_curve import Curve
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.stats import noise as noise_of


@dataclass(frozen=True)
class Spike:
    """One excursion; numbers count validations with a finite value, as in `Curve`.

    Attributes:
        first: the first one that is high.
        top: the highest one.
        back: the first one that is back, None where none is.
        level: median of the values right before.
        excess: the highest value less `level`.
        part: `excess` as a part of what was learned until then, or of the level, or of a third of the start if that is more.
        noises: `excess` over the noise from one validation to the next, that of the values that are not high.
    """

    first: int
    top: int
    back: int | None
    level: float
    excess: float
    part: float
    noises: float

    def holds(self, k: int) -> bool:
        """True if validation `k` belongs to it."""
        return self.first <= k and (self.back is None or k < self.back)


def unit_of(start: float, level: float, *, least: float = 0.3) -> float:
    """What a move of a loss at `level` is compared with: what was learned since `start`, the level, `least` of the start."""
    return max(start - level, abs(level), least * abs(start))


def held_out_spikes(
    curve: Curve, *, part: float = 0.25, noises: float = 6.0, steeper: float = 3.0, near: float = 0.25, before: int = 3
) -> list[Spike]:
    """Excursions in their order; none where there are fewer than 5 values.

    A rise that goes on as it did before, as that of an overfitted model, is none: the step into a spike is `steeper` times
    each of the steps upwards before it.

    Args:
        curve: the held-out loss.
        part: least excess over what was learned until then, and over the level.
        noises: least excess over the noise from one value to the next.
        steeper: as above.
        near: part of the excess within which a value is back.
        before: values that make the level.
    """
    value = curve.value
    if len(curve) < 5:
        return []
    found: list[Spike] = []
    k, since = 2, 0
    while k < len(value):
        recent = value[max(since, k - 2 * before) : k]
        level = median(recent[-before:])
        step = float(value[k] - value[k - 1])
        unit = unit_of(curve.start, level)
        noise = _noise(value[value - level <= part * unit])
        limit = max(part * unit, noises * noise)
        steepest = float(np.diff(recent).max(initial=0.0))
        if not (value[k] - level > limit and step > limit and step > steeper * steepest):
            k += 1
            continue
        back = _back(value, k, level, near, noise)
        top = k + int(value[k : back if back is not None else len(value)].argmax())
        excess = float(value[top] - level)
        found.append(Spike(k, top, back, level, excess, excess / unit, excess / noise if noise > 0 else math.inf))
        if back is None:
            break
        k, since = back + 1, back
    return found


def _noise(values: Floats) -> float:
    """Standard deviation from one of the values that are not high to the next; infinite where they are too few."""
    return noise_of(values) if len(values) > 3 else math.inf


def _back(value: Floats, first: int, level: float, near: float, noise: float) -> int | None:
    """The first value that is near the level again; None without one."""
    highest = value[first]
    for k in range(first + 1, len(value)):
        highest = max(highest, value[k])
        if value[k] - level <= max(near * (highest - level), 2 * noise):
            return k
    return None
