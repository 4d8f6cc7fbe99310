"""Validations with other inputs than the training, and those that are only another sample of the same data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import validation_mismatch
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped

Change = Callable[[int, Tensor], Tensor]
"""(epoch, inputs) -> what the model is given."""


def _samples(count: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(20, 5, generator=torch.Generator().manual_seed(99))
    x = torch.randn(count, 20, generator=generator)
    return TensorDataset(x, torch.multinomial((x @ weight).softmax(1), 1, generator=generator).squeeze(1))


def record(
    directory: Path, *, held_out: Change = lambda _, x: x, train: Change = lambda _, x: x, validate: bool = True
) -> Run:
    """A real loop with a validation after each of eight epochs."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    made = torch.optim.Adam(net.parameters(), lr=6e-3)
    criterion = nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, made, criterion=criterion)
        loader = writer.wrap(DataLoader(_samples(2000, 1), batch_size=64, shuffle=True))
        val = writer.wrap(DataLoader(_samples(400, 2), batch_size=128), split="val")
        for epoch in range(8):
            for inputs, targets in loader:
                made.zero_grad()
                criterion(net(train(epoch, inputs)), targets).backward()
                made.step()
            with torch.no_grad():
                for inputs, targets in val if validate else ():
                    criterion(net(held_out(epoch, inputs)), targets)
    return load_runs(directory)["."]


@pytest.mark.parametrize(
    "held_out", [lambda _, x: 30 * x, lambda _, x: x + 2, lambda _, x: 2 * x + 0.5, lambda _, x: x / 255]
)
def test_a_validation_without_the_preprocessing_of_training(tmp_path: Path, held_out: Change) -> None:
    run = record(tmp_path, held_out=held_out)
    (finding,) = findings(validation_mismatch, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "likely", "from_start")
    assert not finding.explains_jump
    assert diagnose(run).findings[0].cause == "validation_mismatch"


def test_from_an_epoch_on(tmp_path: Path) -> None:
    run = record(tmp_path, held_out=lambda epoch, x: x + 2 * (epoch >= 4))
    (finding,) = findings(validation_mismatch, run)
    assert finding.detail == "from_epoch"
    assert finding.steps == (int(run.step[run.validations[4].batch - 1]),)
    assert "after epoch 4" in finding.text


@pytest.mark.parametrize(
    "train",
    [lambda _, x: x, lambda _, x: x + 0.5 * torch.randn_like(x), lambda _, x: x * (torch.rand_like(x) > 0.2)],
)
def test_augmentation_is_none(tmp_path: Path, train: Change) -> None:
    assert "a spread that differs by" in checked(validation_mismatch, record(tmp_path, train=train))


def test_a_few_training_samples_that_are_far_out_are_none(tmp_path: Path) -> None:
    """Six of 2,000 widen the training inputs fourfold, those of a batch in the middle not at all."""

    def train(_epoch: int, x: Tensor) -> Tensor:
        return torch.where(x[:, :1] > 2.9, 60 * (x + 1), x)

    assert not findings(validation_mismatch, record(tmp_path, train=train))


def test_other_preprocessing_in_both_is_the_healthy_twin(tmp_path: Path) -> None:
    both = record(tmp_path, held_out=lambda _, x: 4 * x + 2, train=lambda _, x: 4 * x + 2)
    assert "a mean up to 0.0" in checked(validation_mismatch, both)


def test_in_one_validation_that_spikes_with_it(tmp_path: Path) -> None:
    run = record(tmp_path, held_out=lambda epoch, x: x + 2 * (epoch == 4))
    (finding,) = findings(validation_mismatch, run)
    assert (finding.detail, finding.strength, finding.explains_jump) == ("one_validation", "likely", False)
    assert finding.steps == (int(run.step[run.validations[4].batch - 1]),)
    assert "in the validation after epoch 4" in finding.text
    assert "the other validations had a mean of" in finding.evidence[-1]
    spike = next(f for f in diagnose(run).findings if f.cause == "validation_spike")
    assert "`validation_mismatch`" in spike.text


def test_a_validation_that_spikes_with_inputs_of_the_usual_size_is_none(tmp_path: Path) -> None:
    """Its inputs are given in another order than its labels."""
    run = record(tmp_path, held_out=lambda epoch, x: x.roll(1, 0) if epoch == 4 else x)
    assert run.validations[4].value > run.validations[3].value + 0.5
    checked(validation_mismatch, run)


def test_a_last_validation_alone_is_too_few(tmp_path: Path) -> None:
    assert findings(validation_mismatch, record(tmp_path, held_out=lambda epoch, x: x + 2 * (epoch == 7))) == []


def test_without_a_validation_it_says_how_to_record_one(tmp_path: Path) -> None:
    assert "split" in skipped(validation_mismatch, record(tmp_path, validate=False)).how
