"""Trainings that learn nothing, and those that only look like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tb_losslens import diagnose
from tb_losslens.analysis.unchanged import unchanged_weights
from tests.analysis.small_training import record


def _frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    for parameter in net.parameters():
        parameter.requires_grad = False
    net.register_parameter("unused", nn.Parameter(torch.zeros(1)))
    return net


def _others(_model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(nn.Linear(20, 10).parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("how", "why", "advice"),
    [
        ({"change_loss": lambda loss: loss.detach().requires_grad_()}, "No gradient reached", "detach()"),
        ({"optimizer": _others}, "No gradient reached", "those of this model"),
        ({"model": _frozen, "change_loss": lambda loss: loss.requires_grad_()}, "No gradient reached", "requires_grad"),
        ({"lr": 0.0}, "learning rate is 0", "LR above 0"),
        ({"steps": False}, "No step of an optimizer", "optimizer.step()"),
        ({"optimizer": _others, "watch_model": False}, "No gradient reached", "those of this model"),
    ],
)
def test_that_nothing_is_learned_is_the_first_thing_said(tmp_path: Path, how: dict[str, Any], why: str, advice: str) -> None:
    how = {**how, "model": how["model"]()} if "model" in how else how
    said = diagnose(record(tmp_path, **how))
    assert said.kind == "fault"
    assert said.headline == "Nothing is learned: the weights did not change in any of 300 batches"
    assert why in said.subline
    assert advice in said.subline
    assert not any("Nothing to fix" in finding.advice for finding in said.findings)
    assert any(item.cause == "batch_noise" for item in said.checked)


def test_it_is_said_from_which_batch_on(tmp_path: Path) -> None:
    def lose(_writer: Any, optimizer: Any, epoch: int) -> None:
        if epoch == 3:  # as after a model that was built anew
            optimizer.param_groups[0]["params"] = [nn.Parameter(torch.zeros(3))]

    said = diagnose(record(tmp_path, before_epoch=lose))
    assert said.headline == "Nothing is learned any more: the weights did not change since batch 150"


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_short_run_that_learns_nothing(tmp_path: Path, epochs: int) -> None:
    said = diagnose(record(tmp_path, epochs=epochs, change_loss=lambda loss: loss.detach().requires_grad_()))
    assert said.headline.startswith("Nothing is learned: ")


@pytest.mark.parametrize("every", [1, 2])
def test_a_step_after_the_loop_of_an_epoch_is_one(tmp_path: Path, every: int) -> None:
    """The whole data set is accumulated, once or twice, for each step: the weights stay from one to the next."""
    run = record(tmp_path, steps=every)
    assert unchanged_weights(run) is None
    counts = [e.fields.get("steps_outside", 0) for e in run.events if e.kind == "epoch_begin"]
    assert counts == [epoch // every for epoch in range(6)]


def test_a_step_after_the_loop_that_changes_nothing(tmp_path: Path) -> None:
    """The near miss: the same loop, and an optimiser of other parameters."""
    said = diagnose(record(tmp_path, steps=1, optimizer=_others))
    assert said.headline == "Nothing is learned: the weights did not change in any of 300 batches"
    assert "No step of an optimizer" not in said.subline


def test_one_epoch_without_a_step_may_still_get_one(tmp_path: Path) -> None:
    assert unchanged_weights(record(tmp_path, epochs=1, steps=False)) is None
    assert unchanged_weights(record(tmp_path / "two", epochs=2, steps=False)) is not None


def test_a_training_that_learns_is_left_alone(tmp_path: Path) -> None:
    assert unchanged_weights(record(tmp_path)) is None


def test_a_tiny_learning_rate_is_not_none(tmp_path: Path) -> None:
    assert unchanged_weights(record(tmp_path, lr=1e-6)) is None


def test_a_schedule_that_has_come_down_to_zero_has_ended(tmp_path: Path) -> None:
    def end(_writer: Any, optimizer: Any, epoch: int) -> None:
        if epoch == 5:
            optimizer.param_groups[0]["lr"] = 0.0

    assert unchanged_weights(record(tmp_path, before_epoch=end)) is None


def test_weights_that_are_nan_are_another_fault(tmp_path: Path) -> None:
    run = record(tmp_path, change_inputs=lambda x, step: x * float("nan") if step >= 120 else x)
    assert unchanged_weights(run) is None
    assert diagnose(run).findings[0].detail == "nonfinite"


def test_a_part_that_is_frozen_on_purpose_is_no_fault(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    net[0].requires_grad_(False)
    assert unchanged_weights(record(tmp_path, model=net)) is None


def test_a_model_that_is_watched_and_not_trained_is_not_taken_for_the_one_that_is(tmp_path: Path) -> None:
    class Behind(nn.Module):  # a frozen body is watched; the head that learns is not part of it
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(20, 20).requires_grad_(False)
            self.__dict__["head"] = nn.Linear(20, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.__dict__["head"](self.body(x))
            return out

    run = record(tmp_path, model=Behind(), optimizer=lambda m: torch.optim.SGD(m.__dict__["head"].parameters(), lr=0.1))
    assert unchanged_weights(run) is None
