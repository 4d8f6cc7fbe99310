"""Whether the places of a sample were exchanged in all samples alike (axes, channels), or in some of them at random."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.content import sample_weights
from tb_losslens.analysis.epoch_levels import noise_ratio
from tb_losslens.analysis.input_levels import InputLevels, place_moves
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Run

_SWAPPED = "mean and spread stay: axes or channels were swapped, or the samples flipped or turned"


def exchanged(
    run: Run, k: int, seen: InputLevels, others: list[int], proved: Sequence[Proof], *, errors: float = 2.0
) -> tuple[str, str]:
    """(detail, why) of inputs that keep mean and spread while places of a sample take another mean at boundary k.

    Samples that came back different once and equal since then are exchanged for good: a proof. Else the noise at the places
    that moved tells. Exchanged in every second sample, a mean that moves by d gets d^2 more variance over samples, and
    more than that in fewer of them; exchanged in all, a place has the noise of another one, which on average over places is no
    more. Either is said where the other is `errors` standard errors (from the scatter over places) away, else neither.
    """
    if any(proof.lasting for proof in proved):
        return "layout", f"{_SWAPPED}, once and for good: since then they come back equal"
    moves = place_moves(seen, k, others)
    samples = max(1.0, median(sample_weights(run)))
    grown, expected = [], []
    for place, move in zip(seen.places, moves, strict=True):
        (ratio, error), before = noise_ratio(place, k, others), median(place.noise[: k + 1])
        if math.isfinite(move) and math.isfinite(error) and before > 0:
            grown.append(2 * ratio)
            expected.append(math.log1p(move**2 / (samples * before**2)))
    if len(grown) > 2:
        growth, excess = np.array(grown), np.array(grown) - np.array(expected)
        allowed = [errors * float(values.std(ddof=1)) / math.sqrt(len(values)) for values in (growth, excess)]
        times = f"{number(math.exp(float(growth.mean()) / 2), 2)} times as much from batch to batch"
        if excess.mean() < -allowed[1]:
            return "layout", f"{_SWAPPED}; they vary {times} there, too little for a random change of half of them"
        if growth.mean() > allowed[0]:
            return "augmentation", f"{_SWAPPED}, some of them at random: they vary {times} there"
    return "", f"{_SWAPPED}; whether all of them alike or some at random is not told"
