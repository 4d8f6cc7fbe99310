"""Weights that other code changes inside an epoch, where the net has learned them again before the loss alone shows a rise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import resume_discontinuity
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.shifts import shifts
from tb_losslens.store.run import Gap, Run
from tests.analysis.contexts import checked, findings
from tests.toys import dataset

AT = 130
"""Batches before the change; epochs have 50."""


def head_drawn_anew(model: nn.Sequential) -> None:
    head = model[-1]
    assert isinstance(head, nn.Linear)
    head.reset_parameters()


def nothing(model: nn.Sequential) -> None: ...


def frozen(model: nn.Sequential) -> None:
    """Fewer parameters are trained, and the norm of these is another one."""
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)


@cache
def trained(change: Callable[[nn.Sequential], None]) -> Run:
    """SGD with momentum, that learns a new head within a few batches."""
    torch.manual_seed(1)
    x, y, _, _ = dataset("gaussian")
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 10))
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), nn.CrossEntropyLoss()
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(model, optimizer, criterion=criterion)
            step = 0
            for _ in range(4):
                for inputs, labels in writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)):
                    if step == AT:
                        change(model)
                    optimizer.zero_grad()
                    criterion(model(inputs), labels).backward()
                    optimizer.step()
                    step += 1
        return load_runs(Path(directory))["."]


def test_a_head_that_is_learned_again_at_once() -> None:
    run = trained(head_drawn_anew)
    assert not shifts(run)  # the loss alone does not show it
    (finding,) = findings(resume_discontinuity, run)
    assert (finding.kind, finding.strength, finding.detail, finding.steps) == ("fault", "proved", "weights_changed", (AT,))
    assert diagnose(run).kind == "fault"


@pytest.mark.parametrize("change", [nothing, frozen])
def test_its_twins_are_left_alone(change: Callable[[nn.Sequential], None]) -> None:
    assert not findings(resume_discontinuity, trained(change))


def with_norm(*rows: int, rise: float = 1.0, lost: int = 8) -> Run:
    """A flat loss that is high for `lost` batches from each of `rows` on, before which the norm of the weights changes."""
    rng = np.random.default_rng(5)
    loss, norm = 1 + 0.1 * rng.normal(size=500), np.full(500, 10.0)
    for row in rows:
        loss[row : row + lost] += rise * np.linspace(1, 0, lost)
        norm[row:] -= 0.7
    return Run.from_arrays(loss=loss, weight_norm=norm, update_ratio=np.full(500, 0.01), epoch_length=100)


def test_the_place_is_that_of_the_norm() -> None:
    (finding,) = findings(resume_discontinuity, with_norm(340))
    assert finding.steps == (340,)
    assert "×7 the size of the update" in finding.evidence[0]


def test_weights_that_change_without_a_rise_are_not_judged() -> None:
    assert checked(resume_discontinuity, with_norm(340, rise=0.0))
    assert checked(resume_discontinuity, with_norm(340, rise=-0.5))


def test_weights_that_change_again_and_again_are_meant_to() -> None:
    assert len(findings(resume_discontinuity, with_norm(140, 240, 340))) == 3
    assert checked(resume_discontinuity, with_norm(40, 140, 240, 340))


def test_batches_on_both_sides_of_missing_ones_are_no_neighbours() -> None:
    run = with_norm(340)
    assert checked(resume_discontinuity, replace(run, gaps=(Gap(340, 10),)))
