"""A change of level that few batches do not show, and the curves that only look as if they had one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from tb_losslens.analysis.boundaries import find_cuts
from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.analysis.lasting import lasting_levels
from tb_losslens.store.run import Run
from tests.analysis.series import healthy

LENGTH = 80


def stepping(rng: np.random.Generator, size: float, *, at: int = 5, epochs: int = 12, shift: int = 0) -> Run:
    """Noise of 1 around a falling level, and a step of `size` at boundary `at`, or `shift` batches after it."""
    n = epochs * LENGTH
    loss = 8 + 6 * np.exp(-np.arange(n) / 100) + rng.normal(size=n)
    loss[at * LENGTH + shift :] += size
    return Run.from_arrays(loss=loss, epoch_length=LENGTH)


def lasting(run: Run) -> list[int]:
    return sorted(lasting_levels(run.loss, find_cuts(run)))


@pytest.mark.parametrize("size", [2.5, -2.5])
def test_a_step_that_is_smaller_than_a_jump_is_found_and_is_where_it_is(size: float) -> None:
    found = [lasting(stepping(np.random.default_rng(seed), size)) for seed in range(40)]
    assert sum(one == [4] for one in found) >= 30
    assert all(one in ([], [4]) for one in found)


def test_the_boundary_is_measured_over_as_many_batches_as_it_takes() -> None:
    run = stepping(np.random.default_rng(3), 1.7)
    (boundary,) = [b for b in build_context(run).boundaries if b.significant]
    assert (boundary.index, boundary.m, boundary.shape) == (4, LENGTH // 4, "step_up")
    assert boundary.jump == pytest.approx(np.mean(run.loss[400:420]) - np.mean(run.loss[380:400]))
    assert boundary.z > 5
    assert set(boundary.z_by_m) == {LENGTH // 4, LENGTH // 2}
    assert boundary.placebo_low < boundary.placebo_median < boundary.placebo_high < boundary.jump
    best = diagnose(run).findings[0]
    assert (best.kind, best.boundaries) == ("unknown", (4,))


@pytest.mark.parametrize("shift", [20, -20, 40])
def test_a_step_inside_an_epoch_is_not_moved_to_the_boundary(shift: int) -> None:
    assert not any(lasting(stepping(np.random.default_rng(seed), 2.5, shift=shift)) for seed in range(20))


@pytest.mark.parametrize("tails", [False, True])
def test_healthy_losses_have_none(tails: bool) -> None:
    """Falling curves with correlated or heavy-tailed noise: 300 runs, some 4,000 boundaries."""
    rng = np.random.default_rng(11)
    assert sum(bool(lasting(healthy(rng, tails=tails))) for _ in range(300)) <= 1


def test_a_steep_start_is_no_step() -> None:
    rng = np.random.default_rng(5)
    for fall in (20, 60, 200, 600):
        n = 12 * LENGTH
        loss = 0.2 + 3 * np.exp(-np.arange(n) / fall) + 0.05 * lfilter([1], [1, -0.3], rng.normal(size=n))
        assert lasting(Run.from_arrays(loss=loss, epoch_length=LENGTH)) == []


HALVES = [np.r_[np.ones(400), np.full(400, top)] for top in (np.inf, 1e308)]
NOTHING = [np.ones(800), np.full(800, np.nan), np.ones(30), *HALVES]


@pytest.mark.parametrize("loss", NOTHING, ids=["constant", "nan", "short", "inf", "huge"])
def test_nothing_to_measure(loss: np.ndarray) -> None:
    assert lasting(Run.from_arrays(loss=loss, epoch_length=LENGTH)) == []
