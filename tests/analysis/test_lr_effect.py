"""A loss that follows the learning rate over a whole epoch, and one that has nothing to do with it."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Finding
from tb_losslens.store.run import Run

EPOCHS, LENGTH = 10, 60


def _run(seed: int, *, raised: bool, follows: bool) -> Run:
    """A falling loss; with `raised` the LR rises in epoch 5, with `follows` the loss climbs then."""
    rng = np.random.default_rng(seed)
    row = np.arange(EPOCHS * LENGTH)
    level = 0.4 + 0.5 * np.exp(-row / 90)
    since = row - 5 * LENGTH
    if follows:
        level = level + 0.35 * np.clip(1 - np.exp(-since / 25), 0, None) * np.exp(-np.clip(since - LENGTH, 0, None) / 40)
    loss = level * np.exp(0.15 * rng.normal(size=len(row)))
    lr = np.where(raised & (since >= 0), 0.6, 0.02)
    return Run.from_arrays(loss=loss, lr=lr, epoch_length=LENGTH)


def _lr(run: Run) -> list[Finding]:
    return [f for f in diagnose(run).findings if f.cause == "lr_increase"]


@pytest.mark.parametrize("seed", range(5))
def test_a_rise_that_takes_the_epoch_is_found_at_its_boundary(seed: int) -> None:
    (found,) = _lr(_run(seed, raised=True, follows=True))
    assert (found.kind, found.boundaries, found.steps) == ("fault", (4,), (5 * LENGTH,))


def test_a_rise_over_the_epoch_is_not_called_a_jump_at_the_boundary() -> None:
    """The loss rises by twice its noise or less between the windows beside the boundary, and for good in the epoch after it."""
    for seed in (0, 1, 3, 4):
        said = diagnose(_run(seed, raised=True, follows=True))
        (found,) = [f for f in said.findings if f.cause == "lr_increase"]
        assert "the loss rises over the epoch after it" in found.text
        assert said.headline == "LR raised"
        assert "jumps" not in said.verdict


@pytest.mark.parametrize("seed", range(10))
def test_a_loss_that_does_not_follow_is_not_blamed_on_the_lr(seed: int) -> None:
    assert _lr(_run(seed, raised=True, follows=False)) == []
    assert _lr(_run(seed, raised=False, follows=True)) == []


def test_a_one_cycle_schedule_built_anew_in_each_epoch_rises_at_each_boundary() -> None:
    rng = np.random.default_rng(0)
    up, down = np.linspace(8e-3, 0.2, 18), 0.2 * 0.5 * (1 + np.cos(np.pi * np.linspace(0, 1, 42)))
    lr = np.tile(np.maximum(np.concatenate([up, down]), 8e-7), EPOCHS)
    run = Run.from_arrays(loss=1 + 0.1 * rng.normal(size=len(lr)), lr=lr, epoch_length=LENGTH)
    said = {c.cause: c.text for c in diagnose(run).checked}
    assert "never rises" not in said.get("lr_increase", "")


def test_a_slow_rise_after_an_lr_step_inside_an_epoch() -> None:
    """The loss takes 30 batches to follow; without an effect of the LR none is claimed."""
    found = {0.0: 0, 0.4: 0}
    row = np.arange(1000)
    for seed in range(20):
        for rise in found:
            later = np.where(row >= 562, 1 - np.exp(-(row - 562).clip(0) / 30), 0)
            loss = (0.3 + np.exp(-0.05 * row / 125)) * (1 + rise * later) * np.random.default_rng(seed).gamma(10, 0.1, 1000)
            run = Run.from_arrays(loss=loss, lr=np.where(row < 562, 0.01, 0.1), epoch_length=125)
            found[rise] += bool(_lr(run))
    assert found[0.0] == 0
    assert found[0.4] >= 15
