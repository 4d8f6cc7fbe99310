"""Small last batches as the recorder sees them: BatchNorm over two samples, and sums told by equality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tb_losslens.analysis.causes import partial_last_batch
from tb_losslens.analysis.engine import diagnose
from tests.analysis.contexts import checked, faults, findings
from tests.analysis.recorded import record


def normalised(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, outputs),
    )  # fmt: skip


BATCHNORM: list[dict[str, Any]] = [
    {"data": "digits", "model": lambda: normalised(64, 10), "lr": 2e-3},
    {"data": "digits", "model": lambda: normalised(64, 10), "optimizer": "momentum", "lr": 0.05},
    {"data": "regression", "model": lambda: normalised(10, 1), "lr": 3e-3, "epochs": 14},
]


def trained(tmp_path: Path, options: dict[str, Any], **more: Any) -> Any:
    torch.manual_seed(more.get("seed", 0))
    return record(tmp_path, **{"samples": 1026, "epochs": 10, **options, "model": options["model"](), **more})


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("options", BATCHNORM[:2])
def test_batchnorm_over_two_samples_sets_the_last_batch_apart(tmp_path: Path, options: dict[str, Any], seed: int) -> None:
    diagnosis = diagnose(trained(tmp_path, options, seed=seed))
    best = diagnosis.findings[0]
    assert (best.cause, best.kind, best.detail) == ("partial_last_batch", "fault", "batchnorm")
    assert "2 instead of 32 samples" in diagnosis.verdict
    assert any("BatchNorm takes mean and spread of the last batch from 2 samples" in line for line in best.evidence)
    assert "drop_last=True" in best.fix


@pytest.mark.parametrize("seed", [0, 1])
def test_where_two_samples_do_not_tell_nothing_else_is_blamed(tmp_path: Path, seed: int) -> None:
    """The error of a regression on two samples strays so far by itself that BatchNorm shows in some trainings only."""
    found = [f for f in diagnose(trained(tmp_path, BATCHNORM[2], seed=seed)).findings if f.kind in ("fault", "unknown")]
    assert all((f.cause, f.detail) in (("partial_last_batch", "batchnorm"), ("unknown", "too_few")) for f in found)


@pytest.mark.parametrize("options", BATCHNORM[1:])
def test_without_the_last_batch_there_is_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    run = trained(tmp_path, options, drop_last=True)
    assert "every batch has 32" in checked(partial_last_batch, run)


@pytest.mark.parametrize("options", BATCHNORM)
def test_batchnorm_over_nearly_a_full_batch_is_none(tmp_path: Path, options: dict[str, Any]) -> None:
    assert faults(partial_last_batch, trained(tmp_path, options, samples=992 + 26)) == []


def test_batchnorm_over_many_places_of_two_images_is_none(tmp_path: Path) -> None:
    """A convolutional network has 64 places of each image to take its statistics from."""
    run = trained(tmp_path, {"data": "digits", "model": lambda: "cnn", "optimizer": "momentum", "lr": 0.05})
    assert faults(partial_last_batch, run) == []


def pooled_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip


class Unflat(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.reshape(len(x), 8, 8))  # type: ignore[no-any-return]


@pytest.mark.usefixtures("hardly_read")
def test_batchnorm_in_a_convolution_is_told_by_the_loss(tmp_path: Path) -> None:
    """The running means lie no further off than in other batches, but the loss of two images is several times as high."""
    options = {"data": "digits", "model": lambda: Unflat(pooled_cnn()), "optimizer": "momentum", "lr": 0.1, "epochs": 28}
    diagnosis = diagnose(trained(tmp_path / "two", options, samples=32 * 40 + 2))
    best = diagnosis.findings[0]
    assert (best.cause, best.kind, best.detail) == ("partial_last_batch", "fault", "batchnorm")
    assert faults(partial_last_batch, trained(tmp_path / "many", {**options, "epochs": 14}, samples=32 * 40 + 20)) == []


def test_a_network_without_batchnorm_is_none(tmp_path: Path) -> None:
    assert faults(partial_last_batch, trained(tmp_path, {"model": lambda: "mlp"})) == []


SUMS: list[dict[str, Any]] = [
    {"data": "digits", "criterion": nn.CrossEntropyLoss(reduction="sum"), "samples": 32 * 28 + 20, "batch_size": 32},
    {"data": "regression", "criterion": nn.MSELoss(reduction="sum"), "samples": 16 * 40 + 11, "batch_size": 16},
]


@pytest.mark.parametrize("divisor", [1, 64])
@pytest.mark.parametrize("options", SUMS)
def test_a_sum_is_told_by_equality(tmp_path: Path, options: dict[str, Any], divisor: int) -> None:
    """The last batch has most of its samples, so that no statistic on so few epochs could tell."""
    run = record(tmp_path, **options, epochs=5, loss_of=lambda loss, n: loss / divisor)
    (finding,) = findings(partial_last_batch, run)
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "sum", "proved")
    assert any("the sum of the losses of its samples" in line for line in finding.evidence)
    unseen = replace(run, ragged={}, facts={"loss_source": "log_batch"}, columns=_without(run.columns, "loss_identity"))
    assert not any(f.strength == "proved" for f in findings(partial_last_batch, unseen))


@pytest.mark.parametrize("options", SUMS)
def test_its_mean_is_told_by_equality(tmp_path: Path, options: dict[str, Any]) -> None:
    run = record(tmp_path, **options, epochs=5, loss_of=lambda loss, n: loss / n)
    assert faults(partial_last_batch, run) == []


def test_a_mean_that_is_recorded_times_the_batch_size_is_no_fault_of_the_training(tmp_path: Path) -> None:
    run = record(tmp_path, **{**SUMS[0], "criterion": nn.CrossEntropyLoss()}, epochs=5, loss_of=lambda loss, n: loss * n)
    (finding,) = findings(partial_last_batch, run)
    assert (finding.kind, finding.detail, finding.strength) == ("artifact", "sum", "proved")


def test_a_contrastive_loss_is_called_no_sum(tmp_path: Path) -> None:
    """InfoNCE falls with its negatives, nearly in proportion: 40 of 64 samples give about seven tenths of the loss."""

    class InfoNCE(nn.Module):
        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            one = nn.functional.normalize(output, dim=1)
            noisy = nn.functional.normalize(output + 0.5 * torch.randn_like(output), dim=1)
            return nn.functional.cross_entropy(one @ noisy.T / 0.2, torch.arange(len(output)))

    torch.manual_seed(0)
    run = record(tmp_path, data="digits", model="mlp", criterion=InfoNCE(), samples=1064, batch_size=64, epochs=8)
    found = findings(partial_last_batch, run)
    assert all(f.detail != "sum" and "is a sum" not in f.text for f in found)
    assert all("/ len(target)" not in f.fix for f in found)


def _without(columns: Any, name: str) -> dict[str, Any]:
    return {key: value for key, value in columns.items() if key != name}
