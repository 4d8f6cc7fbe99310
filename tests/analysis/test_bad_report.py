"""The code against broken batches is pasted into the training that had them, and the training is run again with it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Finding
from tb_losslens.store.run import Run

LOOP = """
for epoch in range(4):
    model.train()
    for x, y in train_loader:
{first}
        optimizer.zero_grad()
        loss = criterion(model(x), y)
{loss}
        loss.backward()
        optimizer.step()
"""
SKIP_LOSS = "if not torch.isfinite(loss):\n    continue"


def train(directory: Path, *, first: str = "", loss: str = "", batchnorm: bool = True) -> tuple[Run, nn.Module, float]:
    """(the recording, the model, its loss in evaluation mode); one element of one sample is NaN, code is pasted in."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x = torch.randn(480, 6)
    y = (x.sum(1) > 0).long()
    clean = x.clone()
    x[17, 2] = float("nan")
    model = nn.Sequential(nn.Linear(6, 16), *([nn.BatchNorm1d(16)] if batchnorm else []), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        names: dict[str, Any] = {
            "torch": torch, "model": model, "optimizer": optimizer, "criterion": criterion,
            "train_loader": writer.wrap(DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)),
        }  # fmt: skip
        exec(LOOP.format(**{k: textwrap.indent(code, " " * 8) for k, code in {"first": first, "loss": loss}.items()}), names)
    model.eval()
    with torch.no_grad():
        held_out = float(nn.functional.cross_entropy(model(clean), y))
    return load_runs(directory)["."], model, held_out


def blamed(run: Run) -> Finding:
    return next(f for f in diagnose(run).findings if f.cause == "bad_batch")


@pytest.mark.parametrize("lost", [True, False])
def test_the_code_leaves_evaluation_finite_with_batchnorm(tmp_path: Path, lost: bool) -> None:
    """`lost`: the weights are lost with the batch. Else its loss is skipped, and the statistics of BatchNorm are lost."""
    run, model, held_out = train(tmp_path / "bad", loss="" if lost else SKIP_LOSS)
    assert held_out != held_out
    assert not torch.isfinite(torch.cat([b.flatten().float() for b in model.buffers()])).all()
    found = blamed(run)
    assert "BatchNorm" in found.advice
    _, _, mended = train(tmp_path / "mended", first=found.fix, loss="" if lost else SKIP_LOSS)
    assert mended < 0.5


def test_without_batchnorm_nothing_is_said_of_its_statistics(tmp_path: Path) -> None:
    run, _, held_out = train(tmp_path / "bad", loss=SKIP_LOSS, batchnorm=False)
    assert held_out < 0.5
    assert "BatchNorm" not in blamed(run).advice
