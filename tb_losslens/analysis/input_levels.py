"""Levels of what was measured of the inputs, epoch by epoch: mean, spread, spread of the samples, and single places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.content import known_shares, sample_weights
from tb_losslens.analysis.epoch_levels import levels, shifts
from tb_losslens.analysis.epoch_pool import Levels, pooled
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.whole import whole_rows
from tb_losslens.store.run import Epoch, Run


@dataclass(frozen=True)
class InputLevels:
    """What the inputs were like in each epoch.

    Attributes:
        means, logs: of the mean of all elements, and of the logarithm of their standard deviation.
        samples: of the logarithm of the range of the means of single samples; all NaN where they were not recorded.
        places: of the mean at each place of a sample that is looked at, one entry a place.
        unit: median standard deviation of the elements; 0 or NaN where there is none.
    """

    means: Levels
    logs: Levels
    samples: Levels
    places: tuple[Levels, ...]
    unit: float


@dataclass(frozen=True)
class Moved:
    """Boundaries (indices) at which the levels take a step, by what takes it; `places` maps each to how many places do."""

    means: tuple[int, ...]
    logs: tuple[int, ...]
    samples: tuple[int, ...]
    places: dict[int, int]

    def all(self) -> list[int]:
        """All of them, in order."""
        return sorted({*self.means, *self.logs, *self.samples, *self.places})


def input_levels(
    run: Run, epochs: tuple[Epoch, ...], *, all_read: bool = False, in_order: bool = False
) -> InputLevels:
    """Reads them from the batches that were not chosen for their loss: those are no measure of their epoch.

    With `all_read` from those as well: `late_inputs` says where that tells something. With `in_order`, where the place in an
    epoch tells what is in a batch, only from epochs of which the signal was read in every batch.
    """
    turn, weight = by_turn(run) | all_read, sample_weights(run)
    # what is left of an epoch that lost batches is no measure of all of it where its samples are in an order
    there = turn & whole_rows(run, epochs, between=True)
    spread = run.float("input_std")
    unit = median(np.where(turn, spread, np.nan))
    floor = 1e-6 * unit if unit > 0 else math.nan

    def of(values: Floats) -> Levels:
        use = there & _read_throughout(values, epochs) if in_order else there
        return levels(values if use.all() else np.where(use, values, np.nan), weight, epochs)

    wide = run.float("sample_level_max") - run.float("sample_level_min")
    with np.errstate(invalid="ignore", divide="ignore"):
        ranges = np.log(np.where(wide > floor, wide, np.nan))
        logs = np.log(np.maximum(spread, floor))
    places = sketch(run)
    return InputLevels(of(run.float("input_mean")), of(logs), of(ranges), tuple(of(place) for place in places.T), unit)


def _read_throughout(values: Floats, epochs: tuple[Epoch, ...]) -> NDArray[np.bool_]:
    """True for the rows of epochs of which every value is known, shape (n,)."""
    known = np.isfinite(values)
    out = np.zeros(len(known), dtype=bool)
    for epoch in epochs:
        out[epoch.first : epoch.last] = known[epoch.first : epoch.last].all()
    return out


def sketch(run: Run) -> Floats:
    """Mean over each batch at the places that are looked at, shape (n, places); NaN for batches without, (n, 0) without any.

    Where samples have several shapes, their places are not the same: nothing is compared then.
    """
    lists = run.ragged.get("input_sketch")
    nothing = np.full((len(run), 0), np.nan)
    if lists is None or not len(lists.values) or len(lists) != len(run):
        return nothing
    count = np.diff(lists.offsets)
    known = np.flatnonzero(count > 0)
    width = int(count[known[0]])
    if width < 2 or (count[known] != width).any():
        return nothing
    out = np.full((len(run), width), np.nan)
    out[known] = lists.values.reshape(len(known), width)
    return out


def moved(seen: InputLevels, *, least: float, least_range: float = 0.15, least_places: int = 2) -> Moved:
    """Where what was measured takes a step for good.

    Args:
        seen: the levels.
        least: smallest move of a mean in spreads of the inputs, or of the spread as a part of itself.
        least_range: smallest change of the range of the samples' means, as a part of itself.
        least_places: places of a sample that must move at the same boundary; one alone may be chance among so many.
    """
    count: dict[int, int] = {}
    for place in seen.places:
        for k in shifts(place, least=least * seen.unit):
            count[k] = count.get(k, 0) + 1
    found = Moved(
        tuple(shifts(seen.means, least=least * seen.unit)),
        tuple(shifts(seen.logs, least=math.log1p(least))),
        tuple(shifts(seen.samples, least=math.log1p(least_range))),
        {k: number for k, number in sorted(count.items()) if number >= least_places},
    )
    return replace(found, places={k: max(number, _at(seen, k, found, least)) for k, number in found.places.items()})


def _at(seen: InputLevels, k: int, found: Moved, least: float) -> int:
    """Places that move at boundary k, once others have shown that something does."""
    return int(np.isfinite(place_moves(seen, k, [j for j in found.all() if j != k], least=least)).sum())


def place_steps(seen: InputLevels, k: int, others: Sequence[int]) -> tuple[Floats, Floats]:
    """(by how much the mean of each place changes at boundary k, its standard error), shape (places,) each.

    All epochs up to the nearest of the `others`, the other boundaries with a change, are taken together.
    """
    reach = min((abs(k - j) for j in others), default=len(seen.means.middle))
    sides = [pooled(place, reach) for place in seen.places]
    return np.array([side.move[k] for side in sides]), np.array([side.error[k] for side in sides])


def place_moves(seen: InputLevels, k: int, others: Sequence[int], *, least: float = 0.05, errors: float = 4.0) -> Floats:
    """By how much each place moves at boundary k, where a change is established, shape (places,); NaN for those that stay.

    A place moves where it does so by `least` of the spread of the inputs and by `errors` standard errors.
    """
    move, error = place_steps(seen, k, others)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(move) >= np.fmax(least * seen.unit, errors * error), move, np.nan)


def class_mix_moves(run: Run, epochs: tuple[Epoch, ...], *, least: float = 0.02) -> set[int]:
    """Boundaries at which the share of a class among the samples takes a step of `least` or more."""
    if not run.has("classes"):
        return set()
    turn, weight = by_turn(run), sample_weights(run)
    shares = np.where(turn[:, None], known_shares(run), np.nan)
    return {k for share in shares.T for k in shifts(levels(share, weight, epochs), least=least)}
