"""Curves that stay finite over losses and gradients that do not, beside guards that work as they should."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import hidden_nonfinite
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset

LOST = 60
"""The step before which a weight becomes NaN, or from which on a gradient does."""


def record(
    directory: Path,
    *,
    lost: bool = False,
    logged: Callable[[float], float] = float,
    change: Callable[[Tensor], Tensor] = lambda loss: loss,
    root: Callable[[int], bool] = lambda _: False,
    criterion: nn.Module | None = None,
    scaler: bool = False,
    guard: bool = False,
    repair: bool = False,
    watch: bool = True,
) -> Run:
    """A real loop; `root(step)` adds the root of 0, whose derivative is not finite; `lost` puts a NaN into a weight."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    made = torch.optim.Adam(net.parameters(), lr=1e-3)
    scale = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=20) if scaler else None
    measure = criterion or nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        if watch:
            writer.watch(net, made, criterion=criterion, **({"scaler": scale} if scale is not None else {}))
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True))
        step = 0
        for _ in range(6):
            for inputs, targets in loader:
                if lost and step == LOST:
                    with torch.no_grad():
                        next(net.parameters())[0, 0] = math.nan
                loss = change(measure(net(inputs), targets))
                if root(step):
                    loss = loss + torch.sqrt((next(net.parameters()) * 0).sum())
                made.zero_grad()
                if scale is not None:
                    scale.scale(loss).backward()
                    scale.step(made)
                    scale.update()
                else:
                    loss.backward()
                    if repair:
                        for parameter in net.parameters():
                            torch.nan_to_num_(parameter.grad)
                    if not guard or all(torch.isfinite(p.grad).all() for p in net.parameters()):
                        made.step()
                writer.add_scalar("Loss/train", logged(loss.item()), step)
                step += 1
    return load_runs(directory)["."]


def test_a_logger_that_writes_0_for_nan(tmp_path: Path) -> None:
    run = record(tmp_path, lost=True, logged=lambda value: float(np.nan_to_num(value)), criterion=nn.CrossEntropyLoss())
    (finding,) = findings(hidden_nonfinite, run)
    assert (finding.kind, finding.strength, finding.detail) == ("artifact", "proved", "replaced")
    assert finding.steps[0] == LOST
    assert "the curve shows 0" in finding.text
    assert any("the weights are lost" in line for line in finding.evidence)
    said = diagnose(run)
    assert said.findings[0].cause == "hidden_nonfinite"
    assert "bad_batch" in [other.cause for other in said.findings]


def test_a_logger_that_repeats_the_last_number_explains_no_jump(tmp_path: Path) -> None:
    last = [0.0]

    def known(value: float) -> float:
        last[0] = value if math.isfinite(value) else last[0] * 1.001
        return last[0]

    (finding,) = findings(hidden_nonfinite, record(tmp_path, lost=True, logged=known, criterion=nn.CrossEntropyLoss()))
    assert finding.detail == "replaced"
    assert not finding.explains_jump


@pytest.mark.parametrize("change", [torch.nan_to_num, lambda loss: loss if torch.isfinite(loss) else loss * 0 + 0.0])
def test_a_loss_of_0_over_weights_that_are_lost(tmp_path: Path, change: Callable[[Tensor], Tensor]) -> None:
    run = record(tmp_path, lost=True, change=change, logged=lambda value: 0.0 if math.isnan(value) else value)
    (finding,) = findings(hidden_nonfinite, run)
    assert (finding.detail, finding.strength, finding.explains_jump) == ("zero", "proved", True)
    assert LOST <= finding.steps[0] <= LOST + 1
    said = diagnose(run)
    assert said.findings[0].cause == "hidden_nonfinite"
    assert said.kind == "artifact"
    assert "No gradient reached" not in said.verdict


def test_a_loss_made_finite_at_another_number_is_no_loss_of_0(tmp_path: Path) -> None:
    run = record(tmp_path, lost=True, change=lambda loss: torch.nan_to_num(loss, nan=2.5))
    (finding,) = findings(hidden_nonfinite, run)
    assert (finding.detail, finding.explains_jump) == ("gradient", False)


@pytest.mark.parametrize("how", [{"scaler": True}, {"guard": True}])
def test_most_steps_left_out_under_a_flat_loss(tmp_path: Path, how: dict[str, bool]) -> None:
    run = record(tmp_path, root=lambda step: step >= LOST, **how)
    (finding,) = findings(hidden_nonfinite, run)
    assert (finding.detail, finding.steps[0], finding.explains_jump) == ("left_out", LOST, False)
    said = diagnose(run)
    assert said.kind == "fault"
    assert "No gradient reached" not in said.verdict


@pytest.mark.parametrize("how", [{"scaler": True}, {"guard": True}])
def test_single_steps_that_are_left_out_by_design(tmp_path: Path, how: dict[str, bool]) -> None:
    run = record(tmp_path, root=lambda step: step % 15 == 7, **how)
    said = checked(hidden_nonfinite, run)
    assert "10 batches of" in said
    assert "the step was left out" in said


def test_a_gradient_that_is_repaired_before_the_step(tmp_path: Path) -> None:
    run = record(tmp_path, root=lambda step: step % 5 == 2, repair=True)
    assert findings(hidden_nonfinite, run) == []


def test_a_nan_that_the_next_loss_shows_hides_nothing(tmp_path: Path) -> None:
    run = record(tmp_path, root=lambda step: step == LOST, criterion=nn.CrossEntropyLoss())
    assert not np.isfinite(run.loss[LOST + 1 :]).any()
    assert findings(hidden_nonfinite, run) == []
    assert diagnose(run).findings[0].cause == "bad_batch"


class _WithGaps(nn.Module):
    """Losses of single samples, NaN for those without a target."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        losses = nn.functional.cross_entropy(output, target, reduction="none")
        return torch.where(target == 3, torch.full_like(losses, math.nan), losses)


def test_a_loss_that_leaves_out_samples_without_a_target(tmp_path: Path) -> None:
    run = record(tmp_path, criterion=_WithGaps(), change=torch.nanmean)
    assert not np.isfinite(run.loss).all()
    assert np.isfinite(run.float("logged_loss")).all()
    assert findings(hidden_nonfinite, run) == []


@pytest.mark.parametrize("shown", [0.0, 0.5])
def test_a_step_that_is_left_out_and_a_number_in_its_place(tmp_path: Path, shown: float) -> None:
    """The weights are spared; 0 is not what any of these losses was, and another number may be a true one."""
    torch.manual_seed(0)
    x, y, _, _ = dataset("gaussian")
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    step = 0
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(net, optimizer)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for _ in range(4):
            for inputs, targets in loader:
                loss = nn.functional.cross_entropy(net(inputs), targets) * (math.nan if step % 23 == 7 else 1.0)
                optimizer.zero_grad()
                loss.backward()
                if loss.isfinite():
                    optimizer.step()
                writer.add_scalar("Loss/train", loss.item() if loss.isfinite() else shown, step)
                step += 1
    run = load_runs(tmp_path)["."]
    if shown:
        assert "left out" in checked(hidden_nonfinite, run)
        return
    (finding,) = findings(hidden_nonfinite, run)
    assert (finding.detail, finding.kind, finding.strength) == ("zero", "artifact", "proved")
    assert finding.steps[:3] == (7, 30, 53)


def test_the_healthy_twin_is_checked(tmp_path: Path) -> None:
    run = record(tmp_path, criterion=nn.CrossEntropyLoss())
    assert f"the gradients of {len(run)} batches with a finite loss are finite" in checked(hidden_nonfinite, run)


def test_a_loss_of_0_with_a_gradient_of_0_is_a_number(tmp_path: Path) -> None:
    run = record(tmp_path, change=lambda loss: (loss - 100).clamp(min=0))
    assert (run.loss == 0).all()
    assert findings(hidden_nonfinite, run) == []


def test_without_a_gradient_it_cannot_be_told(tmp_path: Path) -> None:
    run = record(tmp_path, watch=False, lost=True, change=torch.nan_to_num)
    bare = replace(run, columns={name: column for name, column in run.columns.items() if name != "logged_loss"})
    assert "writer.watch" in skipped(hidden_nonfinite, bare).how
