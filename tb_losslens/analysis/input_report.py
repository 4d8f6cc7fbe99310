"""What is known of the inputs of a run, and what is said of them at a boundary at which they change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.epoch_pool import Levels
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.input_levels import InputLevels, Moved, place_moves
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.text import number, plural


@dataclass(frozen=True)
class Seen:
    """All that is known of the inputs: levels, where they move, proofs by boundary, where the class mix moves.

    Beside it the levels of the loss, the boundaries at which it rises for good, and whether hardly a batch was read since.
    """

    levels: InputLevels
    moved: Moved
    proofs: dict[int, list[Proof]]
    class_mix: frozenset[int]
    loss: Levels
    rises: tuple[int, ...]
    late: bool = False


def is_sure(k: int, seen: Seen) -> bool:
    """True if a change at boundary k is proved, and that it is there does not rest on the loss."""
    return k in seen.proofs and (k in seen.moved.all() or any(len(proof.between) == 1 for proof in seen.proofs[k]))


def measured_at(context: Context, k: int, seen: Seen) -> list[Evidence]:
    """What the levels do at boundary k, as evidence."""
    levels, steps = seen.levels, seen.moved
    span = (context.epochs[k].first, context.epochs[k + 1].last)
    out = []
    if k in (*steps.means, *steps.logs):
        before, after = levels.means.middle[k], levels.means.middle[k + 1]
        old, new = math.exp(levels.logs.middle[k]), math.exp(levels.logs.middle[k + 1])
        factor = f"a factor of {number(new / old, 2)}"
        out.append(Evidence(f"the mean of the inputs goes from {number(before)} to {number(after)}", "input_mean", span))
        out.append(Evidence(f"their spread goes from {number(old)} to {number(new)} ({factor})", "input_std", span))
    if k in steps.samples:
        old, new = (math.exp(float(value)) for value in levels.samples.middle[k : k + 2])
        said = f"the means of the samples of a batch lie within {number(old)} before, within {number(new)} after"
        out.append(Evidence(said, "sample_level_max", span))
    if k in steps.places:
        moves = np.abs(place_moves(levels, k, [j for j in steps.all() if j != k]))
        most = number(float(np.nanmax(moves)) / levels.unit, 2) if np.isfinite(moves).any() else "some"
        share = f"{steps.places[k]} of {plural(len(levels.places), 'place')} of a sample"
        out.append(Evidence(f"{share} have another mean, by up to {most} times the spread of the inputs", "input_mean", span))
    return out


def in_short(k: int, seen: Seen) -> str:
    """The same in a few words."""
    levels, steps = seen.levels, seen.moved
    if k in (*steps.means, *steps.logs):
        (before, after), (old, new) = levels.means.middle[k : k + 2], np.exp(levels.logs.middle[k : k + 2])
        return f"mean {number(before)} to {number(after)}, spread {number(old)} to {number(new)}"
    if k in steps.places:
        return f"{steps.places[k]} of {plural(len(levels.places), 'place')} of a sample take another mean, mean and spread stay"
    if k in steps.samples:
        return "the samples of a batch differ from each other by another amount"
    return str(seen.proofs[k][0].evidence) if k in seen.proofs else "another level"
