"""Weight decay that holds the weights where the loss is steep: its slope along them, by the recording and by the net itself."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import over_regularized
from tb_losslens.analysis.learned import learned
from tb_losslens.analysis.regularization import held_back, settings_of
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.toys import dataset


@cache
def trained(decay: float, momentum: float = 0.0) -> tuple[Run, float]:
    """(a run that fits twice the usual targets, how fast its loss falls as its weights grow, computed at its end).

    The slope is that of the mean loss over all samples when all trained weights are scaled together, for each e-fold.
    """
    torch.manual_seed(0)
    x, y, _, _ = dataset("regression")
    y = 2 * y.reshape(-1, 1)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05 * (1 - momentum), momentum=momentum, weight_decay=decay)
    criterion = nn.MSELoss()
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(model, optimizer, criterion=criterion)
            for _ in range(6):
                for inputs, targets in writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)):
                    optimizer.zero_grad()
                    criterion(model(inputs), targets).backward()
                    optimizer.step()
        run = load_runs(Path(directory))["."]
    optimizer.zero_grad()
    loss: Tensor = criterion(model(x), y)
    loss.backward()
    along = sum(float((p.detach() * p.grad).sum()) for p in model.parameters() if p.grad is not None)
    return run, -along


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_the_slope_is_that_of_the_network(momentum: float) -> None:
    run, slope = trained(0.9, momentum)
    assert held_back(run, settings_of(run)) == pytest.approx(slope, rel=0.1)


def test_what_was_learned_is_held_back() -> None:
    run, slope = trained(0.9)
    part = learned(run)
    assert part is not None
    assert slope > part.start - part.last > 0.25 * part.start
    (finding,) = findings(over_regularized, run)
    assert (finding.detail, finding.kind, finding.strength) == ("weight_decay", "fault", "likely")
    assert "holds the weights where the loss is steep" in finding.title
    assert any("that was learned in all" in line for line in finding.evidence)


def test_a_usual_decay_holds_nothing_back() -> None:
    run, _ = trained(1e-3)
    assert "half-life" in checked(over_regularized, run)


def test_other_optimisers_and_unknown_norms_have_none() -> None:
    run, _ = trained(0.9)
    settings = dict(settings_of(run))
    assert held_back(run, settings) > 1
    assert math.isnan(held_back(run, settings | {"optimizer class": "AdamW"}))
    assert math.isnan(held_back(run, {}))
    assert math.isnan(held_back(Run.from_arrays(loss=run.loss), settings))
