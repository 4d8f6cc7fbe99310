"""Shapes drawn by hand, with noise."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.boundaries import find_cuts
from tb_losslens.analysis.jump import measure
from tb_losslens.analysis.shape import extreme_batch, pattern, recovery, shape_of, strays
from tb_losslens.store.run import Run

BEFORE = 1 + 0.02 * np.random.default_rng(0).normal(size=60)
AFTER = 1 + 0.02 * np.random.default_rng(1).normal(size=60)
PLACE = np.arange(60)

DRAWN = {
    "step_up": AFTER + 0.5,
    "step_down": AFTER - 0.5,
    "transient": AFTER + 0.8 * np.exp(-PLACE / 8),
    "spike": AFTER + 3.0 * (PLACE == 0),
    "divergence": AFTER * 1.15**PLACE,
}


@pytest.mark.parametrize("name", DRAWN)
def test_each_shape_is_named(name: str) -> None:
    after = DRAWN[name]
    assert shape_of(BEFORE, after, 5, float(after[:5].mean() - BEFORE[-5:].mean())) == name


def test_a_loss_that_ends_in_nan_diverges() -> None:
    after = np.where(PLACE < 20, AFTER + 1, np.nan)
    assert shape_of(BEFORE, after, 5, 1.0) == "divergence"


@pytest.mark.parametrize(
    ("side", "place", "offset"), [("after", 0, 0), ("after", 3, 3), ("before", -1, -1), ("before", -4, -4)]
)
@pytest.mark.parametrize("size", [4.0, -4.0])
def test_the_extreme_batch_is_located(side: str, place: int, offset: int, size: float) -> None:
    before, after = BEFORE.copy(), AFTER.copy()
    (after if side == "after" else before)[place] += size
    excess = float(after[:5].mean() - before[-5:].mean())
    assert extreme_batch(before, after, 5, excess) == offset


def test_a_step_has_no_extreme_batch() -> None:
    assert extreme_batch(BEFORE, AFTER + 0.5, 5, 0.5) is None


@pytest.mark.parametrize(("row", "stray"), [(60, False), (59, False), (62, True), (57, True)])
def test_only_a_spike_that_touches_the_boundary_belongs_to_it(row: int, stray: bool) -> None:
    loss = np.concatenate([BEFORE, AFTER])
    loss[row] += 5.0
    cuts = find_cuts(Run.from_arrays(loss=loss, epoch_length=60))
    excess = np.array([loss[60:65].mean() - loss[55:60].mean()])
    assert strays(loss, cuts, 5, excess=excess, significant=np.array([True])).tolist() == [stray]


def test_a_spike_at_every_boundary_is_no_stray() -> None:
    loss = 1 + 0.02 * np.random.default_rng(2).normal(size=600)
    loss[59::60] += 1.0
    boundaries, pooled = measure(Run.from_arrays(loss=loss, epoch_length=60))
    assert all(b.significant and b.shape == "spike" for b in boundaries)
    assert pooled.direction == -1


def test_a_transient_says_when_it_is_back() -> None:
    after = 1 + 0.8 * np.exp(-PLACE / 8)
    level = after[:5].mean() - 1
    back = recovery(after, 5, level)
    assert back is not None
    assert (level - (after[back : back + 5].mean() - 1)) / level >= 0.6
    assert (level - (after[back - 1 : back + 4].mean() - 1)) / level < 0.6
    assert recovery(after + 1, 5, 5.0) is None


def test_runs_say_when_their_jumps_are_back() -> None:
    row = np.arange(600)
    loss = 1 + 0.02 * np.random.default_rng(6).normal(size=600) + np.exp(-(row % 60) / 6) * (row >= 60)
    boundaries, _ = measure(Run.from_arrays(loss=loss, epoch_length=60))
    assert all(b.shape == "transient" and b.recovery is not None and 3 <= b.recovery <= 9 for b in boundaries)
    assert not any(b.recovery for b in measure(Run.from_arrays(loss=2 - row // 60 * 0.1, epoch_length=60))[0])


@pytest.mark.parametrize(
    ("direction", "jump", "within", "name"),
    [
        (-1, -0.2, 0.19, "sawtooth"),
        (-1, -0.2, 0.0, "staircase"),
        (1, 0.3, -0.3, "transient"),
        (1, 0.3, 0.0, "step_up"),
        (0, 1, 0, "none"),
    ],
)
def test_boundaries_together_make_a_pattern(direction: int, jump: float, within: float, name: str) -> None:
    after = 1 + np.arange(9) * (jump + within)
    assert pattern(np.full(9, jump), after - jump, after, direction) == name
