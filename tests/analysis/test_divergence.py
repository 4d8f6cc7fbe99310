"""Trainings that come to harm: named as such, with the cause where there is one, and never with nothing to fix."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from tb_losslens.analysis.divergence import diverged
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Finding
from tb_losslens.store.run import Run
from tests.analysis.series import falling
from tests.trainings import train

PER_EPOCH = 50


def raised(to: float, at: int = 4 * PER_EPOCH) -> Run:
    return train(data="regression", lr=0.02, epochs=8, schedule=lambda step, total, per: to if step >= at else 1.0)


def the(cause: str, run: Run) -> Finding:
    return next(f for f in diagnose(run).findings if f.cause == cause)


def test_an_lr_that_the_run_does_not_bear_is_lowered_and_not_reached_more_slowly() -> None:
    run = raised(200.0)
    assert not math.isfinite(run.loss[-1])
    diagnosis = diagnose(run)
    found = diagnosis.findings[0]
    assert (found.cause, found.kind) == ("lr_increase", "fault")
    assert not [f for f in diagnosis.findings if f.cause == "unknown"]  # what follows is no news of its own
    first = int(run.step[np.flatnonzero(~np.isfinite(run.loss))[0]])
    assert f"step {first:,}" in found.text
    rates: dict[str, object] = {}
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=4.0)
    exec(found.fix, {"optimizer": optimizer}, rates)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02)


def test_what_the_lr_did_is_counted_apart_from_what_the_loss_did() -> None:
    """The LR is set back at each of seven boundaries, whatever the loss makes of it."""

    def again(step: int, total: int, per_epoch: int) -> float:
        return 0.001 + 0.5 * (1 + math.cos(math.pi * (step % per_epoch) / per_epoch))

    for seed in range(3):
        for found in diagnose(train(data="digits", lr=0.5, epochs=8, seed=seed, schedule=again)).findings:
            if found.cause == "lr_increase":
                assert "7 of 7 boundaries" in found.text or "boundaries 1, 2, 3, 4, 5 and 2 more" in found.text


@pytest.mark.parametrize("seed", range(3))
def test_the_headline_and_the_evidence_have_one_number(seed: int) -> None:
    diagnosis = diagnose(
        train(data="regression", lr=0.02, epochs=8, seed=seed, schedule=lambda s, t, p: 20.0 if s >= 200 else 1.0)
    )
    found = diagnosis.findings[0]
    if found.cause == "lr_increase" and len(found.boundaries) == 1:
        said = re.search(r"by (\S+)", diagnosis.headline)
        assert said is not None
        assert any(f"moves by {said[1]} " in line for line in found.evidence)


@pytest.mark.parametrize(
    "options", [{"data": "regression", "lr": 50.0, "clip": 1.0}, {"data": "plane", "model": "linear", "lr": 1.2, "clip": 50.0}]
)
def test_a_run_that_ends_far_above_its_begin_is_never_fine(options: dict[str, Any]) -> None:
    """Clipped, so that it stays finite; it is lost within the first steps already."""
    run = train(epochs=6, **options)
    assert np.median(run.loss[-50:]) > 100 * run.loss[0]
    diagnosis = diagnose(run)
    assert diagnosis.kind in ("unknown", "fault")
    assert "diverges" in diagnosis.to_markdown()
    assert not [f for f in diagnosis.findings if f.cause == "batch_noise"]
    assert "Nothing to fix" not in diagnosis.to_markdown()


def test_it_is_found_where_it_begins() -> None:
    rng = np.random.default_rng(1)
    loss = 1 + 0.1 * rng.normal(size=800)
    loss[500:] *= np.exp(np.arange(300) / 30)
    found = diverged(Run.from_arrays(loss=loss, epoch_length=50))
    assert found is not None
    assert found.row == pytest.approx(540, abs=30)  # three times the level after 33 batches
    assert found.after > 1000
    assert diagnose(Run.from_arrays(loss=loss, epoch_length=50)).kind == "unknown"


def test_falling_and_noisy_losses_do_not_diverge() -> None:
    rng = np.random.default_rng(2)
    for k in range(200):
        epochs, length = int(rng.integers(3, 12)), int(rng.integers(12, 80))
        assert diverged(Run.from_arrays(loss=falling(rng, epochs, length, tails=k % 3 == 0), epoch_length=length)) is None


def test_a_negative_loss_that_rises_to_nothing_does_not_diverge() -> None:
    """As that of a policy gradient, whose size says how far the policy still moves."""
    n = np.arange(400)
    noise = 0.1 * np.random.default_rng(0).normal(size=400)
    assert diverged(Run.from_arrays(loss=(-3.6 + noise) * np.exp(-n / 40), epoch_length=50)) is None
    assert diverged(Run.from_arrays(loss=-3.6 + noise + 0.1 * n, epoch_length=50)) is not None
