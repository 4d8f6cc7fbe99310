"""A batch whose inputs are broken, in a network that normalises by the batch: only the next validation shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.store.run import Run
from tests.toys import dataset

EPOCHS, BATCHES = 12, 50


def trained(directory: Path, broken: dict[int, float]) -> Run:
    """12 epochs of 50 batches; the inputs of each step in `broken` come multiplied."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset("gaussian")
    model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    optimizer, criterion, step = torch.optim.Adam(model.parameters(), 1e-3), nn.CrossEntropyLoss(), 0
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x[:1600], y[:1600]), batch_size=32, shuffle=True))
        held_out = writer.wrap(DataLoader(TensorDataset(held_x, held_y), batch_size=100), split="val")
        for epoch in range(EPOCHS):
            model.train()
            for inputs, targets in loader:
                loss = criterion(model(inputs * broken.get(step, 1.0)), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step += 1
            model.eval()
            with torch.no_grad():
                value = sum(criterion(model(a), b).item() for a, b in held_out) / len(held_out)
            writer.add_scalar("Loss/val", value, epoch)
    return load_runs(directory)["."]


@pytest.mark.parametrize("at", [7 * BATCHES + 37, 7 * BATCHES + 48])
def test_the_batch_is_named_although_its_own_loss_is_as_usual(tmp_path: Path, at: int) -> None:
    first, second = diagnose(trained(tmp_path, {at: 255.0})).findings[:2]
    assert (first.cause, first.detail, first.strength, first.steps[0]) == ("bad_batch", "inputs", "likely", at)
    assert "keeps it in its running statistics" in first.text
    assert second.cause == "batchnorm_drift"


def test_a_batch_that_no_validation_shows_stays_harmless(tmp_path: Path) -> None:
    said = diagnose(trained(tmp_path, {7 * BATCHES + 2: 8.0}))
    assert not [f for f in said.findings if f.kind == "fault"]
