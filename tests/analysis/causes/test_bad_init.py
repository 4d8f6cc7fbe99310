"""Weights that begin too large, in real trainings, beside the same trainings with usual weights and with what looks alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import bad_init
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.analysis.recorded import record
from tests.toys import dataset


def net(scale: float = 1.0, *, width: int = 64, out: int = 10, last: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, out))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
        for parameter in model[2].parameters():
            parameter.mul_(last)
    return model


@pytest.mark.parametrize("batch_size", [4, 32])
def test_weights_ten_times_too_large(tmp_path: Path, batch_size: int) -> None:
    run = record(tmp_path, model=net(10), batch_size=batch_size, epochs=3)
    (finding,) = findings(bad_init, run)
    assert (finding.kind, finding.strength, finding.steps) == ("fault", "likely", (0,))
    assert not finding.explains_jump
    assert "ln 10 = 2.3" in finding.evidence[0]
    assert diagnose(run).findings[0].cause == "bad_init"


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_the_healthy_twin(tmp_path: Path, batch_size: int) -> None:
    run = record(tmp_path, model=net(), batch_size=batch_size, epochs=1, samples=400)
    assert "ln 10 = 2.3" in checked(bad_init, run)


def test_weights_somewhat_too_large_are_not_judged(tmp_path: Path) -> None:
    checked(bad_init, record(tmp_path, model=net(3), epochs=2))


@pytest.mark.parametrize(("reduction", "optimizer"), [("sum", "adam"), ("mean", "sgd")])
def test_any_reduction_and_optimiser(tmp_path: Path, reduction: str, optimizer: str) -> None:
    run = record(tmp_path, model=net(10), criterion=nn.CrossEntropyLoss(reduction=reduction), optimizer=optimizer, epochs=3)
    (finding,) = findings(bad_init, run)
    assert "ln 10 = 2.3" in finding.evidence[0]


def test_a_sum_with_usual_weights_is_none(tmp_path: Path) -> None:
    run = record(tmp_path, model=net(), criterion=nn.CrossEntropyLoss(reduction="sum"), epochs=2)
    assert run.loss[0] > 50
    checked(bad_init, run)


def test_a_regression(tmp_path: Path) -> None:
    (finding,) = findings(bad_init, record(tmp_path / "a", data="regression", model=net(10, width=10, out=1), epochs=3))
    assert "in size, the targets" in finding.evidence[1]
    assert "mean square of the targets" in checked(bad_init, record(tmp_path / "b", data="regression", epochs=3))


def test_targets_in_a_small_unit_are_no_large_weights(tmp_path: Path) -> None:
    def small(_: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x, 1e-3 * y

    run = record(tmp_path, data="regression", change=small, epochs=3)
    assert run.loss[0] > 100 * float((run.float("target_std") ** 2).mean())
    assert "give as much with usual weights" in checked(bad_init, run)


def test_inputs_in_a_large_unit_are_no_large_weights(tmp_path: Path) -> None:
    def bytes_of(_: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * 255, y

    run = record(tmp_path, change=bytes_of, epochs=3)
    assert run.loss[0] > 5
    assert "give as much with usual weights" in checked(bad_init, run)


def test_a_model_with_more_classes_than_the_data_has(tmp_path: Path) -> None:
    run = record(tmp_path, model=net(out=5000), epochs=3)
    assert run.loss[0] > 8
    checked(bad_init, run)


def test_a_loss_beyond_any_vocabulary_is_judged_however_equal_its_samples_are(tmp_path: Path) -> None:
    """Each sample is a sequence, and the mean over its places is nearly the same in all of them."""
    torch.manual_seed(0)
    text = torch.randint(0, 12, (960, 24))
    wanted = torch.where(torch.rand(960, 24) < 0.3, torch.randint(0, 12, (960, 24)), text)
    model = nn.Sequential(nn.Embedding(12, 24), nn.Linear(24, 12))
    with torch.no_grad():
        model[1].weight.mul_(40)
    optimizer, criterion = torch.optim.Adam(model.parameters(), lr=3e-2), nn.CrossEntropyLoss()
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        for _ in range(3):
            for tokens, targets in writer.wrap(DataLoader(TensorDataset(text, wanted), batch_size=24, shuffle=True)):
                optimizer.zero_grad()
                criterion(model(tokens).transpose(1, 2), targets).backward()
                optimizer.step()
    (finding,) = findings(bad_init, load_runs(tmp_path)["."])
    assert "ln 12" in finding.evidence[0]


def test_weights_of_the_classes_are_not_judged(tmp_path: Path) -> None:
    criterion = nn.CrossEntropyLoss(weight=torch.linspace(0.1, 5.0, 10))
    assert "weighs its classes" in checked(bad_init, record(tmp_path, model=net(10), criterion=criterion, epochs=2))


def test_a_learning_rate_that_throws_the_second_batch_is_no_initialisation(tmp_path: Path) -> None:
    run = record(tmp_path, model=net(), optimizer="sgd", lr=30.0, epochs=2)
    assert run.loss[1:6].max() > 20
    checked(bad_init, run)


def loaded(directory: Path) -> Run:
    """A training that begins from a state that was stored."""
    torch.manual_seed(0)

    x, y, _, _ = dataset("digits")
    model, criterion, stored = net(), nn.CrossEntropyLoss(), net(10).state_dict()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        model.load_state_dict(stored)
        data = TensorDataset(x, y)
        for inputs, targets in writer.wrap(DataLoader(data, batch_size=32, shuffle=True)):
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
    (run,) = load_runs(str(directory)).values()
    return run


def test_a_state_that_was_loaded_is_no_initialisation(tmp_path: Path) -> None:
    assert "a state was loaded" in checked(bad_init, loaded(tmp_path))


def test_a_loss_of_zero_at_the_end_has_no_digits_left_to_compare(tmp_path: Path) -> None:
    run = record(tmp_path, model=net(10), epochs=4)
    late = np.arange(len(run)) >= len(run) // 2
    codes = run.float("loss_identity")
    none = np.where(late & np.isfinite(codes), -1.0, codes)
    by_heart = {"loss": np.where(late, 3e-7, run.loss), "loss_identity": none}
    (finding,) = findings(bad_init, replace(run, columns={**run.columns, **by_heart}))
    assert "ln 10 = 2.3" in finding.evidence[0]
    by_heart["loss"] = np.where(late, 3e-3, run.loss)
    assert "none of the functions" in checked(bad_init, replace(run, columns={**run.columns, **by_heart}))
