"""What an output that knows nothing has: known from the targets, and not where the criterion weighs them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.learned import best_constant, learned
from tb_losslens.store.run import Run


def trained(directory: Path, criterion: nn.Module, *, outputs: int) -> Run:
    """Labels without a signal, one in eight of them of the rare class."""
    torch.manual_seed(0)
    x, y = torch.randn(640, 4), (torch.arange(640) % 8 == 0).long()
    model = nn.Linear(4, outputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        for _ in range(2):
            for inputs, labels in writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)):
                loss = criterion(model(inputs), labels if outputs > 1 else labels[:, None].float())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return load_runs(directory)["."]


ENTROPY = -(math.log(1 / 8) / 8 + math.log(7 / 8) * 7 / 8)
WEIGHTED = {
    "cross entropy": (lambda: nn.CrossEntropyLoss(weight=torch.tensor([0.57, 4.0])), 2),
    "binary": (lambda: nn.BCEWithLogitsLoss(pos_weight=torch.tensor([7.0])), 1),
}
PLAIN = {"cross entropy": (nn.CrossEntropyLoss, 2), "binary": (nn.BCEWithLogitsLoss, 1)}


@pytest.mark.parametrize("name", PLAIN)
def test_the_best_constant_has_the_entropy_of_the_classes(name: str, tmp_path: Path) -> None:
    make, outputs = PLAIN[name]
    assert best_constant(trained(tmp_path, make(), outputs=outputs)) == (pytest.approx(ENTROPY, rel=1e-6), True)


@pytest.mark.parametrize("name", WEIGHTED)
def test_no_constant_is_known_where_classes_have_weights(name: str, tmp_path: Path) -> None:
    make, outputs = WEIGHTED[name]
    run = trained(tmp_path, make(), outputs=outputs)
    assert not best_constant(run)[1]
    assert (known := learned(run)) is not None
    assert not known.constant
