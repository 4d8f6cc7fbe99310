"""Rises inside an epoch that last longer than a spike are said, and where they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run

Change = Callable[[Tensor, int], Tensor]


def trained(directory: Path, change: Change, *, lr: Callable[[int], float] = lambda step: 0.1, epochs: int = 8) -> Run:
    """A regression whose targets the loop changes, `change(targets, step)`, after the loader and before a functional loss."""
    torch.manual_seed(0)
    x = torch.randn(1600, 12)
    y = torch.tanh(x[:, :1]) + x[:, 1:2] + 0.3 * torch.randn(1600, 1)
    model = nn.Sequential(nn.Linear(12, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = 0
    with LossLensWriter(str(directory)) as writer:
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True))
        for _ in range(epochs):
            for inputs, targets in loader:
                optimizer.param_groups[0]["lr"] = lr(step)
                loss = nn.functional.mse_loss(model(inputs), change(targets, step))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
    (run,) = load_runs(str(directory)).values()
    return run


@pytest.mark.parametrize("batches", [14, 30])
def test_wrong_targets_for_many_batches_are_no_noise(tmp_path: Path, batches: int) -> None:
    run = trained(tmp_path, lambda y, step: 4 - 3 * y if 430 <= step < 430 + batches else y)
    diagnosis = diagnose(run)
    best = diagnosis.findings[0]
    assert (best.cause, best.kind, best.detail) == ("unknown", "unknown", "transient")
    assert best.steps[0] == 430
    assert "at step 430, inside an epoch" in diagnosis.verdict
    assert any("three quarters of the rise are gone after" in line for line in best.evidence)
    first = run.ragged["sample_ids"][430][0]
    assert any(f"samples {first}" in line for line in best.evidence)


def test_the_same_training_without_them_is_healthy(tmp_path: Path) -> None:
    diagnosis = diagnose(trained(tmp_path, lambda y, step: y))
    assert diagnosis.kind == "benign"
    assert not [f for f in diagnosis.findings if f.kind in ("fault", "unknown")]


def test_what_stays_is_said_to_stay(tmp_path: Path) -> None:
    run = trained(tmp_path, lambda y, step: y + 3 * torch.randn_like(y) if step >= 430 else y)
    rise = next(f for f in diagnose(run).findings if f.steps and f.steps[0] == 430)
    assert (rise.kind, rise.detail) == ("unknown", "step_up")
    assert any("does not come back" in line for line in rise.evidence)


def test_a_rise_that_a_cause_explains_is_left_to_it(tmp_path: Path) -> None:
    run = trained(tmp_path, lambda y, step: y, lr=lambda step: 1.2 if 430 <= step < 450 else 0.1)
    assert not [f for f in diagnose(run).findings if f.cause == "unknown" and f.detail == "transient"]


def test_the_loss_before_anything_was_learned_is_no_rise() -> None:
    loss = np.r_[np.linspace(5, 0.1, 30), np.full(770, 0.1)] * np.exp(0.05 * np.random.default_rng(0).normal(size=800))
    assert not [f for f in diagnose(Run.from_arrays(loss=loss, epoch_length=100)).findings if f.kind == "unknown"]


def test_a_negative_loss_is_no_rise_by_its_sign() -> None:
    """-5 to -3 for some batches is not twice as high."""
    loss = -5 + 0.05 * np.random.default_rng(0).normal(size=800)
    loss[400:420] += 2.0
    found = diagnose(Run.from_arrays(loss=loss, epoch_length=100)).findings
    assert not [f for f in found if f.detail in ("transient", "step_up")]
