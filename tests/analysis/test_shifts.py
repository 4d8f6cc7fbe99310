"""Rises of the loss inside an epoch: found where they are, and none in noise, trends and habits of a curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens import diagnose
from tb_losslens.analysis.shifts import shifts
from tb_losslens.store.run import Gap, Run


def curve(seed: int, *, epochs: int = 10, length: int = 60, noise: float = 0.15) -> np.ndarray:
    """A loss that falls as most do, with noise in proportion to its level."""
    n = epochs * length
    level = 0.5 + 1.8 * np.exp(-np.arange(n) / (0.15 * n))
    return level * np.exp(noise * np.random.default_rng(seed).normal(size=n))


def of(loss: np.ndarray, length: int = 60) -> list[tuple[int, int | None]]:
    return [(one.row, one.back) for one in shifts(Run.from_arrays(loss=loss, epoch_length=length))]


@pytest.mark.parametrize("row", [200, 337, 400, 445])
@pytest.mark.parametrize("factor", [1.8, 3.0])
def test_a_level_that_stays_is_found_within_two_batches(row: int, factor: float) -> None:
    hits = 0
    for seed in range(10):
        loss = curve(seed)
        loss[row:] *= factor
        found = of(loss)
        assert len(found) <= 1
        hits += bool(found) and abs(found[0][0] - row) <= 2
    assert hits >= 9


def test_a_steep_rise_that_comes_back_is_found_with_its_length() -> None:
    loss = curve(0)
    loss[337:] *= 1 + 3 * np.exp(-np.arange(len(loss) - 337) / 10)
    ((row, back),) = of(loss)
    assert abs(row - 337) <= 2
    assert back is not None
    assert 8 <= back <= 30


def test_the_same_at_twenty_thousand_and_at_a_million_batches() -> None:
    for n, row in ((20_000, 12_345), (1_000_000, 612_345)):
        loss = curve(1, epochs=20, length=n // 20)
        loss[row:] *= 1.5
        found = [one for one, _ in of(loss, n // 20)]
        assert len(found) == 1
        assert abs(found[0] - row) <= 2


def habits(kind: str, rng: np.random.Generator) -> np.ndarray:
    n, length = 1200, 60
    at = np.arange(n)
    loss = curve(int(rng.integers(1 << 30)), epochs=20)
    if kind == "stairs":  # a drop at each boundary, and a rise within
        return loss * np.exp(0.3 * ((at % length) / length))
    if kind == "sorted":  # the same levels in each epoch, by position
        return loss * np.exp(0.5 * np.repeat(np.tile([0, 1, 0.5, 0.2], 20), 15))
    if kind == "text":  # documents of different difficulty
        return loss * np.exp(0.4 * np.repeat(rng.normal(size=n // 15 + 1), 15)[:n])
    if kind == "heavy":
        return loss * np.exp(0.3 * np.clip(rng.standard_t(2, size=n), -6, 6))
    if kind == "spikes":
        loss[rng.choice(n, 8, replace=False)] *= 6
        return loss
    if kind == "cycles":
        return loss * np.exp(0.4 * np.sin(at / 40))
    if kind == "slow":  # it rises over the whole second half
        return loss * np.exp(np.maximum(0, at - n / 2) / n)
    return loss


@pytest.mark.parametrize("kind", ["plain", "stairs", "sorted", "text", "heavy", "spikes", "cycles", "slow"])
def test_habits_of_a_curve_are_no_rises(kind: str) -> None:
    alarms = sum(bool(of(habits(kind, np.random.default_rng(seed)))) for seed in range(25))
    assert alarms <= 1


def test_what_is_scaled_or_permuted_within_its_level_keeps_its_place() -> None:
    loss = curve(3)
    loss[337:] *= 2
    assert of(loss) == of(1000 * loss) == of(1e-3 * loss)


@pytest.mark.parametrize("n", [0, 1, 5, 127, 128])
def test_short_and_constant_runs_and_those_without_epochs_have_none(n: int) -> None:
    assert not shifts(Run.from_arrays(loss=np.ones(n)))
    assert not shifts(Run.from_arrays(loss=np.full(n, np.nan)))


def test_a_loss_that_ends_is_judged_as_far_as_it_goes() -> None:
    loss = curve(0)
    loss[337:] *= 3
    loss[560:] = np.nan
    assert [abs(row - 337) <= 2 for row, _ in of(loss)] == [True]


def test_single_values_that_are_none_change_nothing() -> None:
    loss = curve(0)
    loss[337:] *= 3
    expected = of(loss)
    loss[[3, 100, 401, 402]] = np.nan, np.inf, np.nan, np.nan
    assert [row for row, _ in of(loss)] == [row for row, _ in expected] != []
    loss[::10] = np.nan
    assert not of(loss)


def test_rows_beside_missing_ones_are_no_neighbours() -> None:
    loss = curve(0)
    loss[337:] *= 3
    run = Run.from_arrays(loss=loss, epoch_length=60)
    assert shifts(run)
    assert not shifts(replace(run, gaps=(Gap(337, 50),)))


def test_a_step_at_a_boundary_is_left_to_it() -> None:
    loss = curve(0)
    loss[360:] *= 3
    assert not of(loss)


def test_a_run_of_one_epoch_is_told_whether_its_loss_rises() -> None:
    loss = curve(0)
    quiet = diagnose(Run.from_arrays(loss=loss, epoch_length=1000))
    assert quiet.verdict.endswith("The loss never rises beyond what cuts around show.")
    loss[337:] *= 2
    rises = diagnose(Run.from_arrays(loss=loss, epoch_length=1000))
    assert rises.kind == "unknown"
    assert "inside an epoch" in rises.headline
    assert "never rises" not in rises.verdict


@pytest.mark.parametrize("rows", [range(337, 600), range(337, 370)])
def test_without_known_epochs_a_rise_is_not_said_to_be_inside_one(rows: range) -> None:
    loss = curve(0)
    loss[rows.start : rows.stop] *= 3
    diagnosis = diagnose(Run.from_arrays(loss=loss))
    (finding,) = diagnosis.findings
    assert finding.title.startswith("The loss rises at step 33")
    assert "inside an epoch" not in diagnosis.verdict + finding.title + finding.text


def test_a_constant_loss_is_not_said_never_to_rise() -> None:
    assert diagnose(Run.from_arrays(loss=np.ones(600), epoch_length=60)).verdict.endswith("or another number is logged.")
