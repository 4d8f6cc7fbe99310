"""Stairs of samples seen before, on trainings that learn by heart, and drops that have another reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.causes import memorization
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import checked, findings
from tests.trainings import train

BY_HEART: dict[str, dict[str, Any]] = {
    "deep adam": {"data": "wide", "model": "deep", "optimizer": "adam", "lr": 1e-3, "epochs": 14},
    "mlp momentum": {"data": "wide", "optimizer": "momentum", "lr": 0.03, "epochs": 14},
}


@pytest.mark.parametrize("name", BY_HEART)
def test_learning_by_heart_is_found_and_expected(name: str) -> None:
    kinds = []
    for seed in range(3):
        diagnosis = diagnose(train(**BY_HEART[name], seed=seed))
        kinds.append([f.cause for f in diagnosis.findings][:1])
        assert diagnosis.kind == "benign"
        assert diagnosis.pooled.direction <= 0
    assert kinds == [["memorization"]] * 3


def stairs(**columns: Any) -> Run:
    """Flat within an epoch of 40 batches, a step of 0.15 down at each boundary, noise of 0.1."""
    rng = np.random.default_rng(3)
    row = np.arange(480)
    loss = 3 - 0.15 * (row // 40) + 0.1 * rng.normal(size=480)
    return Run.from_arrays(loss=loss, epoch_length=40, **columns)


def with_heldout(run: Run, step: float) -> Run:
    """The same samples in each epoch, and a held-out loss that falls by `step` an epoch."""
    events = [
        event
        for k, e in enumerate(run.epochs)
        for event in (
            RunEvent("epoch_end", e.last, e.last, 0.0, "", {"set_hash": "5a"}),
            RunEvent("validation_end", e.last, e.last, 0.0, "", {"value": 4 - step * k, "epoch": k}),
        )
    ]
    return replace(run, events=tuple(events))


def test_stairs_of_a_bare_loss_are_possible_and_say_what_is_missing() -> None:
    (found,) = findings(memorization, stairs())
    assert found.strength == "possible"
    assert found.share is None
    assert "writer.watch(model, optimizer)" in found.missing
    assert "train_loader = writer.wrap(train_loader)" in found.missing


def test_stairs_with_a_steady_lr_are_likely() -> None:
    (found,) = findings(memorization, with_heldout(stairs(lr=np.full(480, 0.1)), 0.0))
    assert (found.kind, found.strength) == ("benign", "likely")
    assert found.boundaries == tuple(range(11))
    assert found.share is not None
    assert found.share > 0.8


def test_a_heldout_loss_that_falls_along_speaks_against_it() -> None:
    (found,) = findings(memorization, with_heldout(stairs(lr=np.full(480, 0.1)), 0.15))
    assert found.strength == "possible"
    assert "held-out" in found.against[0]


def test_an_lr_that_falls_with_each_epoch_cannot_be_told_apart() -> None:
    assert "LR falls at 11 of the 11 drops" in checked(memorization, stairs(lr=0.8 ** (np.arange(480) // 40)))


def test_other_samples_in_each_epoch_exclude_it() -> None:
    run = stairs()
    events = tuple(RunEvent("epoch_end", e.last, e.last, 0.0, "", {"set_hash": f"{k:x}"}) for k, e in enumerate(run.epochs))
    assert "do not hold the same samples" in checked(memorization, replace(run, events=events))


def test_a_sawtooth_is_left_alone() -> None:
    row = np.arange(480)
    loss = 1 + 0.01 * (row % 40) + 0.02 * np.random.default_rng(4).normal(size=480)
    assert "sawtooth" in checked(memorization, Run.from_arrays(loss=loss, epoch_length=40))


def test_without_ids_a_loss_that_rises_within_each_epoch_is_left_open() -> None:
    """Samples that are mixed within a part of the data set do the same as those that are forgotten again."""
    row = np.arange(480)
    loss = 2 - 0.06 * (row // 40) + 0.008 * (row % 40) + 0.01 * np.random.default_rng(4).normal(size=480)
    assert "mixed within a part" in checked(memorization, Run.from_arrays(loss=loss, epoch_length=40))


def test_a_loss_that_only_falls_is_no_stair() -> None:
    loss = 3 * np.exp(-np.arange(480) / 200) + 0.05 * np.random.default_rng(5).normal(size=480)
    assert "no drop" in checked(memorization, Run.from_arrays(loss=loss, epoch_length=40))


def spikes_at_the_ends(last_size: int) -> Run:
    """A flat loss whose last batch of each epoch lies far above the others."""
    rng = np.random.default_rng(4)
    last = np.arange(480) % 40 == 39
    loss = 1 + 0.05 * rng.normal(size=480) + np.where(last, 3.0, 0.0)
    return Run.from_arrays(loss=loss, batch_size=np.where(last, last_size, 32).astype(float), epoch_length=40)


def test_a_drop_that_is_only_that_of_smaller_last_batches_is_none() -> None:
    assert "smaller batches that end the epochs" in checked(memorization, spikes_at_the_ends(2))
    assert "smaller batches" not in checked(memorization, spikes_at_the_ends(32))
