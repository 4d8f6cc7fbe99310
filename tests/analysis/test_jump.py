"""The measurement on seeded series: how often it is wrong, what it finds, and what must not disturb it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.jump import measure
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.series import healthy, jumping


def test_p_is_conservative_on_healthy_runs() -> None:
    rng = np.random.default_rng(11)
    p = np.array([measure(healthy(rng))[1].p for _ in range(300)])
    for level in (0.01, 0.05, 0.1, 0.2, 0.5):
        slack = 2 * math.sqrt(level * (1 - level) / len(p))
        assert (p <= level).mean() <= level + slack
    assert 0.3 < np.median(p) < 0.75  # not so conservative that it could never find anything


def test_single_boundaries_of_healthy_runs_are_quiet() -> None:
    rng = np.random.default_rng(12)
    found = [b for k in range(300) for b in measure(healthy(rng, tails=k % 3 == 0))[0] if b.significant]
    assert len(found) <= 2  # of about 4,000 boundaries, a third of them with heavy tails


def test_a_jump_as_large_as_the_noise_is_found_by_all_boundaries_together() -> None:
    rng = np.random.default_rng(13)
    pooled = [measure(jumping(rng, 1.0, epochs=16))[1] for _ in range(40)]
    assert sum(p.direction == 1 for p in pooled) >= 26
    assert sum(p.direction == -1 for p in pooled) == 0
    strong = [measure(jumping(rng, 2.0))[1] for _ in range(20)]
    assert sum(p.direction == 1 for p in strong) >= 19
    assert np.median([p.up / p.total for p in strong]) > 0.95


def test_one_step_is_found_where_it_is() -> None:
    rng = np.random.default_rng(14)
    for place in (2, 5, 9):
        loss = 1 + 0.1 * rng.normal(size=480)
        loss[40 * place :] += 0.8
        boundaries, pooled = measure(Run.from_arrays(loss=loss, epoch_length=40))
        assert [b.index for b in boundaries if b.significant] == [place - 1]
        assert boundaries[place - 1].jump == pytest.approx(0.8, abs=0.15)
        assert boundaries[place - 1].shape == "step_up"
        assert pooled.direction == 0


def test_two_window_sizes_must_agree() -> None:
    boundaries, _ = measure(jumping(np.random.default_rng(15), 8.0))
    for b in boundaries:
        assert len(b.z_by_m) == 3
        assert b.significant == (sum(z > 6 for z in b.z_by_m.values()) >= 2)


def test_boundaries_match_the_epochs() -> None:
    run = healthy(np.random.default_rng(16))
    boundaries, pooled = measure(run)
    assert [b.batch for b in boundaries] == [e.first for e in run.epochs[1:]]
    assert [b.epoch for b in boundaries] == [e.epoch for e in run.epochs[1:]]
    assert pooled.total == len(boundaries) == pooled.up + pooled.down
    for b in boundaries:
        left, right = run.loss[b.batch - b.m : b.batch], run.loss[b.batch : b.batch + b.m]
        assert (b.before, b.after) == (pytest.approx(left.mean()), pytest.approx(right.mean()))
        assert b.jump == pytest.approx(right.mean() - left.mean())
        assert b.placebo_low <= b.placebo_median <= b.placebo_high


@pytest.mark.parametrize("factor", [1e-12, 3.0, 1e12])
def test_scaling_the_loss_changes_no_judgement(factor: float) -> None:
    run = jumping(np.random.default_rng(17), 3.0)
    scaled = Run.from_arrays(loss=run.loss * factor, epoch_length=40)
    for a, b in zip(measure(run)[0], measure(scaled)[0], strict=True):
        assert (a.significant, a.shape, a.log_scale) == (b.significant, b.shape, b.log_scale)
        assert a.z == pytest.approx(b.z)
        assert a.jump * factor == pytest.approx(b.jump)
    assert measure(run)[1].p == pytest.approx(measure(scaled)[1].p)


def test_a_steep_fall_is_judged_on_log_loss() -> None:
    rng = np.random.default_rng(18)
    loss = np.exp(-0.03 * np.arange(480)) * np.exp(0.05 * rng.normal(size=480))
    boundaries, pooled = measure(Run.from_arrays(loss=loss, epoch_length=40))
    assert all(b.log_scale for b in boundaries)
    assert pooled.direction == 0
    assert not any(b.significant for b in boundaries)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
def test_bad_losses_disturb_only_what_is_near_them(bad: float) -> None:
    run = jumping(np.random.default_rng(19), 3.0)
    loss = run.loss.copy()
    loss[[45, 46, 47]] = bad
    before, after = measure(run)[0], measure(Run.from_arrays(loss=loss, epoch_length=40))[0]
    for a, b in zip(before[2:], after[2:], strict=True):
        assert a.jump == pytest.approx(b.jump)


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan, math.inf, 1e308])
def test_a_constant_loss_has_no_jump(value: float) -> None:
    boundaries, pooled = measure(Run.from_arrays(loss=np.full(200, value), epoch_length=20))
    assert len(boundaries) == 9
    assert pooled.direction == 0
    assert not any(b.significant for b in boundaries)


def test_stairs_without_any_noise_are_significant() -> None:
    loss = 5.0 - np.arange(200) // 20 * 0.1
    boundaries, pooled = measure(Run.from_arrays(loss=loss, epoch_length=20))
    assert pooled.direction == -1
    assert all(b.significant and b.shape == "staircase" for b in boundaries)


def test_an_outlier_beside_a_boundary_is_not_a_jump() -> None:
    rng = np.random.default_rng(20)
    loss = 1 + 0.1 * rng.normal(size=480)
    loss[[202, 330]] = 40.0
    assert not any(b.significant for b in measure(Run.from_arrays(loss=loss, epoch_length=40))[0])


def test_refused_runs_have_a_reason_and_plain_numbers() -> None:
    boundaries, pooled = measure(Run.from_arrays(loss=np.arange(40.0), epoch_length=4))
    assert "An epoch has 4 batches" in pooled.reason
    assert pooled.direction == 0
    assert [b.jump for b in boundaries] == [1.0] * 9



def test_a_repeated_order_counts_once() -> None:
    """The same batches at every boundary are one observation, however often they come."""
    rng = np.random.default_rng(22)
    content = 0.1 * rng.normal(size=40)
    content[:5] += 0.12  # a little harder, as any five batches might be
    loss = 1 + np.tile(content, 12) + 0.01 * rng.normal(size=480)
    run = Run.from_arrays(loss=loss, epoch_length=40)
    events = tuple(RunEvent("epoch_end", e.last, fields={"order_hash": "5a"}) for e in run.epochs)
    assert measure(run)[1].p < 0.01
    assert measure(replace(run, events=events))[1].direction == 0
