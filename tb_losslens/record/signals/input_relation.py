"""Answers what was done to a batch between the loader and the model, from a few fixed places of a few samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.record.host_view import host_view
from tb_losslens.record.measures import is_dense

PLACES = 64
"""Places of a sample that are looked at."""

SAMPLES = 8
"""Samples of a batch that are looked at."""

RELATIONS = ("equal", "affine", "affine by sample", "affine by channel", "other")
"""What the codes of column `input_relation` mean. "equal" may differ by the rounding of a narrower type."""

_MOST_CHANNELS = 16
_ROUNDINGS = 8


@dataclass(frozen=True)
class Places:
    """Values of some samples at fixed places.

    Attributes:
        values: float64 of shape (samples, places).
        shape: of the whole batch.
        rounding: relative rounding of its type.
    """

    values: NDArray[np.float64]
    shape: tuple[int, ...]
    rounding: float


@dataclass(frozen=True)
class Relation:
    """How one batch became another.

    Attributes:
        code: index in `RELATIONS`.
        slope: factor, the median one where it is not the same for all; NaN without any.
        offset: what is added after that.
    """

    code: int
    slope: float = math.nan
    offset: float = math.nan


def stride(shape: tuple[int, ...]) -> int:
    """Distance of the places in a flattened sample of this shape; no divisor in common with the last of several axes."""
    return _stride(math.prod(shape), shape[-1] if len(shape) > 1 else 1)


@lru_cache(maxsize=256)
def _stride(size: int, last: int) -> int:
    widest = max(1, (size - 1) // (PLACES - 1))
    return next(step for step in range(widest, 0, -1) if math.gcd(step, last) == 1)


def places_of(batch: Tensor) -> Places | None:
    """The places of a batch on the CPU, shape (n, ...); None for anything else. The tensor is not held."""
    if batch.device.type != "cpu" or not is_dense(batch) or batch.dim() < 2 or not batch.numel() or batch.is_complex():
        return None
    with torch.no_grad():
        some = batch.detach()[:: max(1, len(batch) // SAMPLES)][:SAMPLES]
        picked = some.reshape(len(some), -1)[:, :: stride(tuple(batch.shape[1:]))][:, :PLACES]
        rounding = torch.finfo(batch.dtype).eps if batch.is_floating_point() else 0.0
        return Places(host_view(picked.double()).copy(), tuple(batch.shape), rounding)


def relation(loaded: Places, given: Places) -> Relation | None:
    """How the values that the loader delivered became those that the model was given; None where the shapes differ.

    A map is affine where the best line through all pairs leaves nothing but rounding. Fewer than four values that differ
    refute no line: where most samples have so few (a table of three columns, a blank image), the answer is None if it is
    neither "equal" nor one line for all.
    """
    if loaded.shape != given.shape:
        return None
    x, y = loaded.values, given.values
    both = np.isfinite(x) & np.isfinite(y)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    rounding = _ROUNDINGS * max(given.rounding, loaded.rounding, 2.0**-23)
    if same.all() or (both.any() and bool((np.abs(y - x)[both] <= rounding * np.abs(x[both])).all()) and (same | both).all()):
        return Relation(0, 1.0, 0.0)
    if not both.all():
        return Relation(4)
    if len(np.unique(x)) < 4:
        return None
    whole = _line(x.ravel(), y.ravel(), rounding)
    if whole is not None:
        return Relation(1, *whole)
    for code, groups in ((2, list(zip(x, y, strict=True))), (3, _channels(x, y, loaded.shape))):
        usable = [(a.ravel(), b.ravel()) for a, b in groups if len(np.unique(a)) >= 4]
        if len(usable) < 2 or sum(len(a) for a, _ in usable) < x.size // 2:
            if code == 2:
                return None
            continue
        lines = [_line(a, b, rounding) for a, b in usable]
        known = [line for line in lines if line is not None]
        if len(known) == len(lines):
            return Relation(code, float(np.median([a for a, _ in known])), float(np.median([b for _, b in known])))
    return Relation(4)


def _line(x: NDArray[np.float64], y: NDArray[np.float64], rounding: float) -> tuple[float, float] | None:
    """Slope and offset of the line that all pairs lie on; None if they do not, or if it is flat."""
    middle = x.mean()
    spread = ((x - middle) ** 2).sum()
    if not spread > 0:
        return None
    slope = float(((x - middle) * (y - y.mean())).sum() / spread)
    offset = float(y.mean() - slope * middle)
    # each value was rounded at least once on its way, at the size that the terms of the line have
    size = np.abs(slope * x) + abs(offset) + np.abs(y)
    if not slope or not bool((np.abs(y - slope * x - offset) <= rounding * (size + size.mean())).all()):
        return None
    return slope, offset


def _channels(
    x: NDArray[np.float64], y: NDArray[np.float64], shape: tuple[int, ...]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The pairs by channel, where the first axis of a sample may be one of channels."""
    if len(shape) < 3 or not 1 < shape[1] <= _MOST_CHANNELS:
        return []
    place = np.arange(x.shape[1]) * stride(shape[1:])
    channel = place // math.prod(shape[2:])
    return [(x[:, channel == c], y[:, channel == c]) for c in range(shape[1])]
