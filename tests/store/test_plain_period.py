"""Epochs of a plain log that only the loss tells: by jumps at one distance, and none in noise, trends and wandering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.plain import plain_run
from tb_losslens.store.plain_period import by_period
from tests.plain_logs import losses, summary_writer

Floats = NDArray[np.float64]


def curve(rows: int, length: float, jump: float, seed: int, *, shape: str = "saw", noise: float = 0.1) -> Floats:
    """A loss that falls as most do, and jumps by `jump` at each multiple of `length`."""
    at = np.arange(rows)
    part = at / length % 1
    shapes = {"saw": jump * (1 - part), "back": jump * np.exp(-part * length / 8), "stairs": -jump * np.floor(at / length)}
    base = 1 + 1.5 * np.exp(-at / (rows / 5)) + shapes[shape]
    return base + noise * np.random.default_rng(seed).normal(size=rows)


def begins(value: Floats, step: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Rows at which an epoch begins, without the first."""
    labels = by_period(np.arange(len(value)) if step is None else step, value)
    return np.flatnonzero(np.diff(labels.epoch)) + 1 if labels.epoch is not None else np.empty(0, dtype=np.int64)


@pytest.mark.parametrize("shape", ["saw", "back", "stairs"])
@pytest.mark.parametrize("length", [50.0, 100.0, 265.24])
def test_jumps_at_one_distance_begin_epochs(length: float, shape: str) -> None:
    """Their distance need not be a whole number of logged losses."""
    true, hits = np.ceil(np.arange(1, 16) * length), 0
    for seed in range(6):
        found = begins(curve(int(16 * length), length, 0.4, seed, shape=shape))
        hits += len(found) in (15, 16) and max(int(np.abs(found - row).min()) for row in true) <= 2
    assert hits >= 5


def test_noise_trends_and_wandering_have_no_epochs() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(200, 4000))
        assert not len(begins(curve(rows, 100, 0.0, seed)))
        wandering = np.abs(2 + np.cumsum(0.02 * rng.normal(size=rows))) + 0.05 * rng.normal(size=rows)
        assert not len(begins(wandering))
        assert not len(begins(np.abs(rng.standard_cauchy(size=rows)) + 1))
    assert not len(begins(np.ones(2000)))
    assert not len(begins(np.full(2000, np.nan)))


def test_a_few_epochs_and_jumps_at_unequal_distances_are_none() -> None:
    assert not len(begins(curve(700, 100, 0.6, 0)))
    rng = np.random.default_rng(1)
    loss = 1 + 0.1 * rng.normal(size=3000)
    for row in np.cumsum(rng.integers(60, 260, 18)).tolist():
        loss[row : row + 60] += 0.5 * np.exp(-np.arange(60) / 20)[: len(loss[row : row + 60])]
    assert not len(begins(loss))
    assert not len(begins(curve(1600, 100, 0.6, 0), np.cumsum(rng.integers(1, 9, 1600))))  # steps at any distance


def test_single_high_losses_at_one_distance_begin_no_epochs() -> None:
    loss = curve(1600, 100, 0.0, 2)
    loss[50::100] += 2.0
    assert not len(begins(loss))


@pytest.mark.parametrize("restarts", [True, False])
def test_jumps_of_a_learning_rate_that_is_logged_are_not_taken_for_epochs(tmp_path: Path, restarts: bool) -> None:
    loss = curve(1600, 100, 0.6, 4)
    with summary_writer(tmp_path) as writer:
        for k, value in enumerate(loss.tolist()):
            writer.add_scalar("loss", value, k)
            writer.add_scalar("lr", 0.1 * (1.01 - k / 100 % 1) if restarts else 0.1 * 0.999**k, k)
    plain = plain_run(tmp_path).facts["plain"]
    assert bool(plain["epochs"]) != restarts
    if restarts:
        assert "jumps where the learning rate does" in plain["no_epochs"]


def test_of_a_long_log_the_place_is_found_again_among_its_rows() -> None:
    rows, length = 400_000, 12_345.6
    found = begins(curve(rows, length, 0.5, 3))
    assert len(found) in (32, 33)
    assert max(int(np.abs(found - row).min()) for row in np.ceil(np.arange(1, 32) * length)) <= 6


def test_it_is_said_to_be_inferred_from_the_loss(tmp_path: Path) -> None:
    loss = losses(20, 100, drop=0.3, gain=0.9)
    with summary_writer(tmp_path) as writer:
        for k, value in enumerate(loss.tolist()):
            writer.add_scalar("loss", value, 50 * k)
    run = plain_run(tmp_path)
    assert run.facts["plain"]["inferred"]
    assert len(run.epochs) in (20, 21)
    said = diagnose(run)
    assert "epochs are inferred from `loss` itself, which jumps every 5,000 steps or so" in said.verdict
    assert said.pooled.total >= 18
