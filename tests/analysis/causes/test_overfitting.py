"""Trainings whose held-out loss rises for good, and those in which it only seems to, or for another reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import overfitting
from tb_losslens.analysis.engine import build_context, decide, diagnose
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.held_out_curve import held_out_curve
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.causes.test_memorization import BY_HEART
from tests.analysis.contexts import checked, findings, skipped
from tests.once import once
from tests.trainings import train

pytestmark = pytest.mark.usefixtures("hardly_read")

Change = Callable[[int, Tensor], Tensor]
"""(epoch, inputs of a validation) -> what the model is given."""


def _samples(count: int, seed: int, *, signal: float) -> TensorDataset:
    """Labels drawn from the softmax of a linear map: learnable with a floor above 0, or not at all where `signal` is 0."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(20, 5, generator=torch.Generator().manual_seed(99))
    x = torch.randn(count, 20, generator=generator)
    return TensorDataset(x, torch.multinomial((signal * x @ weight).softmax(1), 1, generator=generator).squeeze(1))


@once
def record(
    directory: Path,
    *,
    samples: int = 400,
    epochs: int = 20,
    signal: float = 0.7,
    seed: int = 0,
    validate: bool = True,
    change: Change = lambda _, x: x,
    worse_from: int | None = None,
    renumbered_from: int | None = None,
    width: int = 128,
    lr: float = 2e-3,
) -> Run:
    """A real loop with a validation after each epoch; from epoch `worse_from` on the LR is far too high, from
    `renumbered_from` on the loop counts the classes in another way.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    net = nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5))
    made = torch.optim.Adam(net.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    held_out = _samples(512, seed + 1000, signal=signal)
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, made, criterion=criterion)
        loader = writer.wrap(DataLoader(_samples(samples, seed, signal=signal), batch_size=32, shuffle=True))
        val = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        for epoch in range(epochs):
            if epoch == worse_from:
                made.param_groups[0]["lr"] = 0.05
            net.train()
            for inputs, targets in loader:
                made.zero_grad()
                other = renumbered_from is not None and epoch >= renumbered_from
                criterion(net(inputs), (targets + 1) % 5 if other else targets).backward()
                made.step()
            net.eval()
            if validate:
                with torch.no_grad():
                    for inputs, targets in val:
                        criterion(net(change(epoch, inputs)), targets)
    return load_runs(directory)["."]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_model_too_large_for_its_data(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path, seed=seed)
    (finding,) = findings(overfitting, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("fault", "likely", False)
    values = [v.value for v in run.validations]
    best = int(np.argmin(values))
    rows = [v.batch for v in run.validations]
    assert rows[max(0, best - 2)] - 1 <= finding.steps[0] <= rows[best + 2] - 1
    assert "torch.save" in finding.fix
    assert "overfitting" in [f.cause for f in diagnose(run).findings]


def test_it_names_the_epoch_to_stop_at(tmp_path: Path) -> None:
    run = record(tmp_path)
    (finding,) = findings(overfitting, run)
    curve = held_out_curve(build_context(run))
    assert curve is not None
    epoch = run.validations[curve.best].epoch
    assert f"after epoch {epoch} (step " in finding.text
    assert f"range({epoch + 1})" in finding.fix


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_enough_data_is_the_healthy_twin(tmp_path: Path, seed: int) -> None:
    """The same model and labels with ten times the samples, as many steps."""
    assert findings(overfitting, record(tmp_path, samples=6000, epochs=8, width=16, seed=seed)) == []


def test_it_says_where_the_held_out_loss_was_as_low_as_at_the_end(tmp_path: Path) -> None:
    """Slowly learned: on the way down it passes the level at which it ends."""
    run = record(tmp_path, samples=800, epochs=50, width=64, lr=1e-3)
    (finding,) = findings(overfitting, run)
    values = [v.value for v in run.validations]
    best = int(np.argmin(values))
    passed = next(v for v in run.validations if v.value <= float(np.median(values[-7:])))
    assert passed.epoch < best
    assert f"already after epoch {passed.epoch} " in " ".join(finding.evidence)


def test_a_small_rise_is_no_fault(tmp_path: Path) -> None:
    """The best is passed, by noises, and the training loss falls on: it gave back less than a quarter."""
    run = record(tmp_path, samples=800, epochs=30, width=64, lr=1e-3)
    curve = held_out_curve(build_context(run))
    assert curve is not None
    assert 0.05 < (curve.end - curve.smooth[curve.best]) / curve.learned < 0.25
    assert curve.best < len(curve) - 4
    assert "is lost again" in checked(overfitting, run)


@pytest.mark.parametrize("name", BY_HEART)
def test_samples_learned_by_heart_explain_the_jumps_and_it_stands_beside_them(name: str) -> None:
    diagnosis = diagnose(train(**BY_HEART[name]))
    names = [f.cause for f in diagnosis.findings]
    assert names[:3] == ["memorization", "insufficient_data", "overfitting"]
    assert diagnosis.findings[2].strength == "likely"
    assert "Beside it: too few samples" in diagnosis.verdict


def test_a_training_that_stops_at_its_best_has_lost_nothing(tmp_path: Path) -> None:
    assert "too few for a rise" in checked(overfitting, record(tmp_path, epochs=5))


def test_where_nothing_was_learned_there_is_nothing_to_lose(tmp_path: Path) -> None:
    """Labels without a signal: the held-out loss rises from the first epoch on."""
    run = record(tmp_path, signal=0.0)
    assert run.validations[-1].value > run.validations[0].value + 0.2
    assert "nothing to lose" in checked(overfitting, run)


def test_a_training_loss_that_rises_as_well_is_no_overfitting(tmp_path: Path) -> None:
    run = record(tmp_path, samples=6000, epochs=12, width=16, worse_from=5)
    assert run.validations[-1].value > min(v.value for v in run.validations)
    assert findings(overfitting, run) == []


def test_a_training_loss_that_is_thrown_up_and_falls_again_is_no_overfitting(tmp_path: Path) -> None:
    """It learns other labels than those of the validation."""
    run = record(tmp_path, samples=3000, epochs=10, width=16, renumbered_from=4)
    epoch = len(run) // 10
    assert run.validations[-1].value > run.validations[3].value + 1
    assert run.loss[4 * epoch :][:20].mean() > run.loss[-20:].mean() + 0.3
    assert "the training loss goes up to" in checked(overfitting, run)


def test_a_held_out_set_that_changes_is_no_overfitting(tmp_path: Path) -> None:
    """Its inputs get a growing offset, and the loss rises with it."""
    run = record(tmp_path, samples=1500, epochs=12, width=64, change=lambda epoch, x: x + max(0.0, 0.15 * (epoch - 3)))
    assert run.validations[-1].value > run.validations[3].value + 0.2
    assert "other inputs" in checked(overfitting, run)


def test_after_a_fault_it_is_what_may_follow_from_it(tmp_path: Path) -> None:
    run = record(tmp_path)
    fault = Finding("wrong_mode", "fault", "proved", "", "", steps=(3,), evidence=(Evidence("seen"),))
    later = replace(fault, steps=(10_000,))
    for earlier, strength in ((fault, "possible"), (later, "likely")):
        (finding,) = decide(overfitting, replace(build_context(run), earlier=(earlier,)))
        assert isinstance(finding, Finding)
        assert finding.strength == strength
    # the best validation is the last one before the fault
    best = replace(fault, steps=(finding.steps[0] + 1,))
    (finding,) = decide(overfitting, replace(build_context(run), earlier=(best,)))
    assert isinstance(finding, Finding)
    assert finding.strength == "possible"


def _validated(held_out: list[float]) -> Run:
    """12 epochs of 50 batches with a training loss that falls, and these held-out losses."""
    rng = np.random.default_rng(0)
    events = tuple(
        RunEvent("validation_end", 50 * k + 50, 50 * k + 49, fields={"value": value, "epoch": k})
        for k, value in enumerate(held_out)
    )
    loss = np.exp(-np.arange(600) / 200) * (1 + 0.05 * rng.normal(size=600))
    return replace(Run.from_arrays(loss=loss, epoch_length=50), events=events)


def test_a_fault_with_which_the_rise_begins_comes_before_it_wherever_the_best_value_is() -> None:
    """Held-out values that differ by noise for five epochs, the best one early, and rise from step 300 on."""
    run = _validated([0.5, 0.2, 0.1, 0.12, 0.11, 0.12, 0.5, 0.8, 1.1, 1.4, 1.7, 2.0])
    fault = Finding("input_shift", "fault", "likely", "", "", evidence=(Evidence("seen"),))
    for step, strength in ((300, "possible"), (360, "likely")):
        (finding,) = decide(overfitting, replace(build_context(run), earlier=(replace(fault, steps=(step,)),)))
        assert isinstance(finding, Finding)
        assert finding.steps[0] < 200
        assert finding.strength == strength


def test_a_rise_that_comes_at_once_is_only_possible() -> None:
    run = _validated([0.5, 0.2, 0.1, 0.12, 0.11, 0.12, 1.6, 1.65, 1.7, 1.75, 1.8, 1.85])
    (finding,) = findings(overfitting, run)
    assert finding.strength == "possible"
    assert any("at once" in line for line in finding.against)


def test_without_a_validation_it_says_how_to_record_one(tmp_path: Path) -> None:
    assert "split" in skipped(overfitting, record(tmp_path, validate=False, epochs=3)).how


@pytest.mark.parametrize("seed", range(20))
def test_noise_around_a_plateau_is_no_rise(seed: int) -> None:
    """The least of noisy values is followed by higher ones, in any training."""
    rng = np.random.default_rng(seed)
    loss = np.exp(-np.arange(1000) / 100) + 0.3 - 0.0002 * np.arange(1000) + 0.05 * rng.standard_normal(1000)
    run = Run.from_arrays(loss=loss, epoch_length=50)
    values = np.exp(-np.arange(1, 21) / 2) + 0.4 + 0.05 * rng.standard_normal(20)
    ends = tuple(RunEvent("validation_end", 50 * (k + 1), fields={"value": float(v), "epoch": k}) for k, v in enumerate(values))
    assert findings(overfitting, replace(run, events=ends)) == []
