"""Trainings that validate averaged weights and put their own back, or do not: recorded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import resume_discontinuity, weights_swapped
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.once import once
from tests.toys import dataset

EPOCHS = 6


@dataclass
class Loop:
    """What a validation may touch; `averaged` follows the weights slowly, and `validate` is the loop over held-out batches."""

    writer: LossLensWriter
    model: nn.Module
    averaged: nn.Module
    validate: Callable[[], None]


Validation = Callable[[Loop, int], None]
"""(loop, epoch), after each epoch."""


@once
def trained(
    directory: Path, validation: Validation, *, optimizer: str = "adam", wrapped: bool = True, probe: bool = False
) -> Run:
    """6 epochs of 50 batches, and averaged weights that lag far behind: a change of 0.1 % a step."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset("gaussian")
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    averaged = copy.deepcopy(model)
    kinds = {"adam": lambda p: torch.optim.Adam(p, lr=0.005), "sgd": lambda p: torch.optim.SGD(p, lr=0.1)}
    made, criterion = kinds[optimizer](model.parameters()), nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, made, criterion=criterion)
        if probe:
            writer.set_probe()
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        held_out = DataLoader(TensorDataset(held_x, held_y), batch_size=100)
        held_out = writer.wrap(held_out, split="val") if wrapped else held_out

        def validate() -> None:
            model.eval()
            with torch.no_grad():
                value = sum(criterion(model(inputs), targets).item() for inputs, targets in held_out) / len(held_out)
            model.train()
            writer.add_scalar("Loss/val", value)

        loop = Loop(writer, model, averaged, validate)
        for epoch in range(EPOCHS):
            for inputs, targets in loader:
                made.zero_grad()
                criterion(model(inputs), targets).backward()
                made.step()
                with torch.no_grad():
                    for slow, fast in zip(averaged.parameters(), model.parameters(), strict=True):
                        slow.lerp_(fast, 0.001)
            validation(loop, epoch)
    return load_runs(directory)["."]


def plain(loop: Loop, epoch: int) -> None:
    loop.validate()


def kept(loop: Loop, epoch: int) -> None:
    """The averaged weights are loaded for the validation, and stay."""
    loop.model.load_state_dict(loop.averaged.state_dict())
    loop.validate()


def copied(loop: Loop, epoch: int) -> None:
    """The same without `load_state_dict`."""
    with torch.no_grad():
        for own, other in zip(loop.model.parameters(), loop.averaged.parameters(), strict=True):
            own.copy_(other)
    loop.validate()


def inside(loop: Loop, epoch: int) -> None:
    with loop.writer.validation():
        kept(loop, epoch)


def put_back(loop: Loop, epoch: int) -> None:
    own = copy.deepcopy(loop.model.state_dict())
    kept(loop, epoch)
    loop.model.load_state_dict(own)


def put_back_inside(loop: Loop, epoch: int) -> None:
    with loop.writer.validation():
        put_back(loop, epoch)


def once(validation: Validation, at: int = 3) -> Validation:
    return lambda loop, epoch: validation(loop, epoch) if epoch == at else plain(loop, epoch)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("validation", "detail"), [(kept, "kept"), (inside, "inside"), (copied, "kept")])
def test_weights_that_are_not_put_back_once(tmp_path: Path, validation: Validation, detail: str, optimizer: str) -> None:
    run = trained(tmp_path, once(validation), optimizer=optimizer)
    (finding,) = findings(weights_swapped, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", detail)
    assert (finding.boundaries, finding.steps) == ((3,), (200,))
    assert finding.explains_jump
    assert "5 boundaries with a validation were compared" in finding.evidence[1]
    assert any("as pruning does" in line for line in finding.against) == (validation is copied)
    said = diagnose(run)
    assert [f.cause for f in said.findings if f.kind in ("fault", "planned")] == ["weights_swapped"]
    assert said.boundaries[3].cause == "weights_swapped"


@pytest.mark.parametrize("wrapped", [True, False])
def test_weights_that_are_never_put_back(tmp_path: Path, wrapped: bool) -> None:
    (finding,) = findings(weights_swapped, trained(tmp_path, kept, wrapped=wrapped))
    assert (finding.kind, finding.detail, finding.boundaries) == ("fault", "kept", tuple(range(EPOCHS - 1)))


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("validation", [put_back, put_back_inside])
def test_weights_that_are_put_back_are_fine(tmp_path: Path, validation: Validation, wrapped: bool) -> None:
    run = trained(tmp_path, validation, wrapped=wrapped)
    said = checked(weights_swapped, run)
    assert "those from before it, at 5 boundaries" in said
    assert ("5 validations ran with other weights, which were put back" in said) == (validation is put_back)
    assert findings(resume_discontinuity, run) == []


def test_healthy_twin_is_fine(tmp_path: Path) -> None:
    assert checked(weights_swapped, trained(tmp_path, plain)).endswith("at 5 boundaries")


def test_the_probe_tells_how_much_of_the_jump_it_is(tmp_path: Path) -> None:
    (finding,) = findings(weights_swapped, trained(tmp_path, once(kept), probe=True))
    assert finding.explains_jump
    assert finding.share is not None
    assert finding.share > 0.5
    (said,) = [line for line in finding.evidence if "the same training batch moves by +" in line]
    assert said.startswith("by experiment (1 boundary)")
    assert said.endswith(f"{100 * finding.share:.0f}\u202f% of the jump")


def test_a_change_that_the_loss_does_not_show_is_said_elsewhere(tmp_path: Path) -> None:
    """As pruning of next to nothing before each validation: no fault of the validation."""

    def nudged(loop: Loop, epoch: int) -> None:
        with torch.no_grad():
            for own in loop.model.parameters():
                own.mul_(1 - 1e-6)
        loop.validate()

    run = trained(tmp_path, once(nudged))
    assert "which the loss does not show" in checked(weights_swapped, run)
    assert [f.kind for f in findings(resume_discontinuity, run)] == ["unknown"]


def test_older_weights_that_are_loaded_before_a_validation_are_a_rollback(tmp_path: Path) -> None:
    states: list[dict[str, torch.Tensor]] = []

    def best(loop: Loop, epoch: int) -> None:
        states.append(copy.deepcopy(loop.model.state_dict()))
        if epoch == 3:
            loop.model.load_state_dict(states[0])
        loop.validate()

    run = trained(tmp_path, best)
    assert findings(weights_swapped, run) == []
    assert [(f.detail, f.kind) for f in findings(resume_discontinuity, run)] == [("stale_weights", "planned")]


def test_after_the_last_epoch_nothing_goes_on_from_them(tmp_path: Path) -> None:
    assert findings(weights_swapped, trained(tmp_path, once(kept, EPOCHS - 1))) == []


def test_a_note_that_says_so_makes_it_planned(tmp_path: Path) -> None:
    def noted(loop: Loop, epoch: int) -> None:
        loop.writer.note("averaged weights from here on", kind="config_change")
        kept(loop, epoch)

    assert [f.kind for f in findings(weights_swapped, trained(tmp_path, once(noted)))] == ["planned"]


def test_what_was_not_recorded_is_said(tmp_path: Path) -> None:
    run = trained(tmp_path, plain)
    bare = replace(run, events=tuple(e for e in run.events if not e.kind.startswith("validation")))
    assert "val_loader" in skipped(weights_swapped, bare).how
    unseen = replace(run, events=tuple(replace(e, fields={**e.fields, "parameters": None}) for e in run.events))
    assert "writer.watch" in skipped(weights_swapped, unseen).how
