"""Weights that other code changes between two epochs, in recorded trainings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import resume_discontinuity
from tb_losslens.store.run import Run
from tests.analysis.contexts import findings
from tests.toys import dataset

Between = Callable[[LossLensWriter, nn.Module, torch.optim.Optimizer, int], None]


def trained(directory: Path, between: Between) -> Run:
    """8 epochs on digits; `between` runs after each of them."""
    torch.manual_seed(0)
    x, y, _, _ = dataset("digits", 1600)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer, criterion = torch.optim.Adam(model.parameters(), 1e-3), nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=25, shuffle=True))
        for epoch in range(8):
            for inputs, targets in loader:
                optimizer.zero_grad()
                criterion(model(inputs), targets).backward()
                optimizer.step()
            between(writer, model, optimizer, epoch)
    (run,) = load_runs(str(directory)).values()
    return run


def disturb(model: nn.Module, size: float = 0.08) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * size)


def test_weights_that_other_code_changes_are_proved(tmp_path: Path) -> None:
    run = trained(tmp_path, lambda writer, model, optimizer, epoch: disturb(model, 0.4) if epoch in (2, 5) else None)
    best = diagnose(run).findings[0]
    assert (best.cause, best.detail, best.kind, best.strength) == ("resume_discontinuity", "weights_changed", "fault", "proved")
    assert best.boundaries == (2, 5)
    assert "equal at 5 of 7 boundaries" in best.evidence[0]


def test_a_change_that_the_loss_does_not_show_is_said_and_not_judged(tmp_path: Path) -> None:
    run = trained(tmp_path, lambda writer, model, optimizer, epoch: disturb(model, 1e-6) if epoch == 3 else None)
    (finding,) = findings(resume_discontinuity, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("unknown", "proved", False)


def roll_back(to: int, at: int, **also: bool) -> Between:
    """Loads the weights from after epoch `to` after epoch `at`; `optimizer` loads its state too, `note` says so."""
    kept: dict[str, Any] = {}

    def between(writer: LossLensWriter, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        if epoch == to:
            kept.update(copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()}))
        if epoch == at:
            model.load_state_dict(kept["model"])
            if also.get("optimizer"):
                optimizer.load_state_dict(kept["optimizer"])
            if also.get("note"):
                writer.note("back to the best weights", kind="config_change")

    return between


@pytest.mark.parametrize("also", [{}, {"optimizer": True}, {"note": True}])
def test_older_weights_that_are_loaded_are_named_and_explain_the_jump(tmp_path: Path, also: dict[str, bool]) -> None:
    said = diagnose(trained(tmp_path, roll_back(0, 5, **also)))
    best = said.findings[0]
    assert (best.cause, best.detail, best.strength) == ("resume_discontinuity", "stale_weights", "proved")
    assert (best.kind, best.boundaries, best.explains_jump) == ("planned", (5,), True)
    assert "the weights after step 39 were loaded" in best.text
    assert "200 batches older" in best.evidence[0]
    assert any("no state was loaded into the optimiser" in line for line in best.evidence) != bool(also.get("optimizer"))
    assert said.boundaries[5].cause == "resume_discontinuity"


def test_weights_that_equal_no_recorded_state_are_said_to_be_loaded(tmp_path: Path) -> None:
    def between(writer: LossLensWriter, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        if epoch == 4:
            model.load_state_dict({name: -value for name, value in model.state_dict().items()})

    best = diagnose(trained(tmp_path, between)).findings[0]
    assert (best.cause, best.detail, best.kind) == ("resume_discontinuity", "weights_changed", "planned")
    assert best.explains_jump


def test_a_return_that_the_loss_does_not_show_explains_nothing(tmp_path: Path) -> None:
    """From late weights to weights that are hardly older: the fact is said, no jump is read into it."""
    (finding,) = findings(resume_discontinuity, trained(tmp_path, roll_back(5, 6)))
    assert (finding.kind, finding.detail, finding.explains_jump) == ("planned", "stale_weights", False)


def test_old_weights_that_are_copied_back_by_hand_are_named(tmp_path: Path) -> None:
    kept: list[torch.Tensor] = []

    def between(writer: LossLensWriter, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        if epoch == 0:
            kept.extend(p.detach().clone() for p in model.parameters())
        if epoch == 4:
            with torch.no_grad():
                for parameter, old in zip(model.parameters(), kept, strict=True):
                    parameter.copy_(old)

    best = diagnose(trained(tmp_path, between)).findings[0]
    assert (best.cause, best.detail, best.kind) == ("resume_discontinuity", "stale_weights", "fault")
    assert any("equal exactly those after step 39" in line for line in best.evidence)


def swap_and_back(writer: LossLensWriter, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """What a validation with averaged weights does."""
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    disturb(model)
    model.load_state_dict(kept)


def noted(writer: LossLensWriter, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    if epoch == 3:
        writer.note("pruned", kind="config_change")
        disturb(model)


def stepped(writer: LossLensWriter, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """A step of the optimiser on something that no loader gives."""
    optimizer.zero_grad()
    sum((p**2).sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
    optimizer.step()


def nothing(writer: LossLensWriter, model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    pass


@pytest.mark.parametrize("between", [nothing, swap_and_back, noted, stepped, roll_back(2, 7)])
def test_healthy_twins_have_none(tmp_path: Path, between: Between) -> None:
    """The last of them goes back to its best weights at the end of the training."""
    assert findings(resume_discontinuity, trained(tmp_path, between)) == []
