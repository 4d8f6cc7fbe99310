"""What a patience would have done to a training: where it stops, and the best held-out loss that it keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.stats import Floats, mean


@dataclass(frozen=True)
class Stop:
    """A patience and what it does: the validation at which it stops (None: never), and the best one until then."""

    patience: int
    at: int | None
    best: int


def stop_of(values: Floats, patience: int) -> Stop:
    """Stops after `patience` validations in a row without a new least value; values of shape (k,), finite, k > 0."""
    best = 0
    for k in range(1, len(values)):
        if values[k] < values[best]:
            best = k
        elif k - best >= patience:
            return Stop(patience, k, best)
    return Stop(patience, None, best)


def keeps_best(values: Floats) -> int:
    """The least patience with which the training gets to the best of these values."""
    best, longest = 0, 0
    for k in range(1, len(values)):
        if values[k] < values[best]:
            longest, best = max(longest, k - best - 1), k
    return longest + 1


@dataclass(frozen=True)
class Trend:
    """Whether the later held-out losses go on falling.

    Attributes:
        count: values in each half.
        fall: mean of the first half of them less that of the second.
        errors: the same in standard errors.
        each: fall from one validation to the next.
    """

    count: int
    fall: float
    errors: float
    each: float


def trend(values: Floats, noise: float, most: int, *, part: float = 2 / 3, least: int = 2) -> Trend | None:
    """The last `part` of the values in two halves of `least` to `most` each; None for too few, or where noise is unknown."""
    count = min(math.ceil(part * len(values)) // 2, most)
    if count < least or not noise > 0:
        return None
    late, early = values[-count:], values[-2 * count : -count]
    fall = mean(early) - mean(late)
    return Trend(count, fall, fall / (noise * math.sqrt(2 / count)), fall / count)


def patience_for(noise: float, each: float, *, noises: float = 3.0, most: int = 100) -> int:
    """Validations in which a fall of `each` becomes larger than `noises` of the noise, `most` at most."""
    return int(np.clip(math.ceil(noises * noise / each), 1, most)) if each > 0 else most
