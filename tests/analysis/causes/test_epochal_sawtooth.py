"""Samples that are forgotten until they come again, on trainings that have it, and saws of another make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tb_losslens.analysis.causes import epochal_sawtooth
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Ragged, Run
from tests.analysis.contexts import checked, findings, skipped
from tests.once import once
from tests.trainings import train

FORGETS: dict[str, dict[str, Any]] = {
    "linear adam": {"model": "linear", "optimizer": "adam", "lr": 0.1},
    "mlp adam": {"model": "mlp", "optimizer": "adam", "lr": 0.03},
}


@once
def trained(name: str, seed: int = 0, *, replacement: bool = False, factor: float = 1.0) -> Run:
    """800 samples of 100 columns with a quarter of the labels random."""
    options = {"data": "wide", "samples": 800, "epochs": 14, **FORGETS[name]}
    options["lr"] *= factor
    order = (lambda _, n, rng: rng.integers(0, n, n)) if replacement else None
    return train(**options, seed=seed, per_sample=True, order=order)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", FORGETS)
def test_samples_that_are_forgotten_within_a_pass(name: str, seed: int) -> None:
    diagnosis = diagnose(trained(name, seed))
    found = diagnosis.findings[0]
    assert (found.cause, found.kind, found.strength) == ("epochal_sawtooth", "benign", "likely")
    assert len(found.boundaries) >= 10
    assert found.share is not None
    assert found.share > 0.3
    assert diagnosis.kind == "benign"
    beside = [f for f in diagnosis.findings if f.cause == "memorization"]
    assert not [f for f in beside if f.explains_jump or f.share is not None]


def test_what_is_remembered_in_part_stands_beside_what_is_forgotten() -> None:
    """The loss gains back two thirds of each drop, and the held-out loss does not fall along with what stays."""
    run = trained("mlp adam", 1)
    first, beside = diagnose(run).findings[:2]
    assert (first.cause, first.explains_jump) == ("epochal_sawtooth", True)
    assert (beside.cause, beside.explains_jump, beside.strength) == ("memorization", False, "likely")
    assert "stays" in beside.text
    bare = replace(run, events=tuple(e for e in run.events if not e.kind.startswith("validation")))
    assert [f.cause for f in diagnose(bare).findings] == ["epochal_sawtooth"]


@pytest.mark.parametrize("name", FORGETS)
def test_drawn_with_replacement_the_same_training_has_no_saw(name: str) -> None:
    run = trained(name, replacement=True)
    assert not findings(epochal_sawtooth, run)
    assert abs(np.mean(run.loss) / np.mean(trained(name).loss) - 1) < 0.5  # it forgets as much


def test_the_lower_lr_that_is_advised_makes_it_smaller() -> None:
    run = trained("linear adam")
    (found,) = findings(epochal_sawtooth, run)
    advised = float(found.fix.split("= ")[1].split()[0])
    less = trained("linear adam", factor=advised / 0.1)
    jump, smaller = (np.median([b.jump for b in diagnose(r).boundaries]) for r in (run, less))
    assert jump < 2 * smaller < 0


@pytest.mark.parametrize(("name", "seed", "factor"), [("mlp adam", 2, 0.9), ("linear adam", 1, 0.5)])
def test_what_is_forgotten_in_part_stands_beside_what_is_remembered(name: str, seed: int, factor: float) -> None:
    """With a lower LR the loss gains back less than half of each drop, or the time explains no more than half of the rise."""
    first, beside = diagnose(trained(name, seed, factor=factor)).findings[:2]
    assert (first.cause, first.explains_jump) == ("memorization", True)
    assert (beside.cause, beside.explains_jump, beside.strength) == ("epochal_sawtooth", False, "likely")
    assert "gains back" in beside.against[-1]


def test_stairs_are_left_to_memorization() -> None:
    run = train(data="wide", samples=800, model="deep", optimizer="adam", lr=1e-3, epochs=14, per_sample=True)
    assert "no rise within the epochs" in checked(epochal_sawtooth, run)
    assert diagnose(run).findings[0].cause == "memorization"


def test_without_the_losses_of_samples_it_says_what_would_tell() -> None:
    run = trained("linear adam")
    bare = replace(run, ragged={name: lists for name, lists in run.ragged.items() if name != "per_sample"})
    (found,) = findings(epochal_sawtooth, bare)
    assert found.strength == "possible"
    assert any("per_sample" in line for line in found.missing)


def a_saw(
    orders: list[NDArray[np.int64]] | None = None, *, forgets: bool, epochs: int = 12, length: int = 40, **columns: Any
) -> Run:
    """A loss that rises by 0.4 over each epoch and falls back: by what its samples forget, or by its place alone."""
    rng = np.random.default_rng(2)
    size = 8 * length
    orders = orders or [rng.permutation(size) for _ in range(epochs)]
    ids = np.concatenate(orders)
    seen = {}
    gap = np.ones(len(ids))
    for at, name in enumerate(ids.tolist()):
        gap[at] = (at - seen[name]) / size if name in seen else 1.0
        seen[name] = at
    place = np.arange(len(ids)) % size / size + 0.5
    loss = (1 + 0.4 * (gap if forgets else place)).reshape(-1, 8).mean(axis=1) + 0.02 * rng.normal(size=len(ids) // 8)
    run = Run.from_arrays(loss=loss, epoch_length=length, **{"lr": np.full(len(loss), 0.1), **columns})
    return replace(run, ragged={"sample_ids": Ragged(ids, np.arange(0, len(ids) + 1, 8))})


def test_a_saw_of_what_is_forgotten_and_one_of_the_place() -> None:
    (found,) = findings(epochal_sawtooth, a_saw(forgets=True))
    assert (found.strength, found.boundaries) == ("likely", tuple(range(11)))
    assert found.share == pytest.approx(1.0, abs=0.1)
    assert "a batch's loss moves by" in " ".join(found.evidence)
    assert "accounts for" in checked(epochal_sawtooth, a_saw(forgets=False))


def test_a_saw_under_one_order_is_no_forgetting() -> None:
    """Every sample comes an epoch after its last visit, wherever it stands."""
    order = np.random.default_rng(1).permutation(320)
    said = checked(epochal_sawtooth, a_saw([order] * 12, forgets=False))
    assert "no time to forget more" in said


def test_a_saw_of_samples_that_come_again_at_any_time_is_another() -> None:
    rng = np.random.default_rng(6)
    run = a_saw([rng.integers(0, 320, 320) for _ in range(12)], forgets=False)
    assert "come again in the same epoch" in checked(epochal_sawtooth, run)


def test_an_lr_that_rises_within_each_epoch_is_a_reason_of_its_own() -> None:
    row = np.arange(480)
    said = checked(epochal_sawtooth, a_saw(forgets=True, lr=0.1 * (1 + row % 40 / 40)))
    assert "the LR" in said


def test_where_noise_hides_the_time_it_is_possible_and_needs_a_full_return() -> None:
    run, said = a_saw(forgets=True), []
    for seed in range(8):
        noise = 0.35 * np.random.default_rng(seed).normal(size=480)
        noisy = replace(run, columns={**run.columns, "loss": run.loss + noise})
        for found in findings(epochal_sawtooth, noisy):
            said.append(found.strength)
            assert (found.share is None) == (found.strength == "possible")
        falling = replace(noisy, columns={**noisy.columns, "loss": noisy.loss - 0.15 * (np.arange(480) // 40)})
        assert all(found.strength == "likely" for found in findings(epochal_sawtooth, falling))
    assert set(said) == {"likely", "possible"}


def test_a_rise_of_the_small_batches_that_end_the_epochs_is_none() -> None:
    rng = np.random.default_rng(4)
    last = np.arange(480) % 40 == 39
    run = a_saw(forgets=True, batch_size=np.where(last, 2, 8).astype(float))
    loss = 1 + 0.05 * rng.normal(size=480) + np.where(last, 3.0, 0.0)
    assert "no drop beyond noise" in checked(epochal_sawtooth, replace(run, columns={**run.columns, "loss": loss}))


def test_without_an_lr_it_is_possible_and_says_what_is_missing() -> None:
    run = a_saw(forgets=True)
    (found,) = findings(epochal_sawtooth, replace(run, columns={k: v for k, v in run.columns.items() if k != "lr"}))
    assert found.strength == "possible"
    assert "writer.watch(model, optimizer)" in found.missing


def test_without_sample_ids_it_is_skipped() -> None:
    assert "wrap(train_loader)" in skipped(epochal_sawtooth, replace(a_saw(forgets=True), ragged={})).how


def test_few_steps_on_a_falling_curve_are_no_saw() -> None:
    """24 steps an epoch: one window size may see an effect."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        run = a_saw(forgets=False, length=24, epochs=14)
        loss = 2 * np.exp(-np.arange(336) / 100) + 0.3 + 0.1 * rng.normal(size=336)
        assert not findings(epochal_sawtooth, replace(run, columns={**run.columns, "loss": loss}))


def test_a_small_drop_that_is_always_there_is_one() -> None:
    """Look-alike 11 of the catalogue: 3 % at 28 of 28 boundaries, which no eye sees."""
    rng = np.random.default_rng(5)
    run = a_saw(forgets=True, epochs=29, length=80)
    small = 1 + 0.1 * (run.loss - 1) + 0.01 * rng.normal(size=len(run))
    (found,) = findings(epochal_sawtooth, replace(run, columns={**run.columns, "loss": small}))
    assert found.strength == "likely"
    assert len(found.boundaries) >= 26
