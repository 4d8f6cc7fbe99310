"""Optimisers that are built anew, emptied or set back, and what only looks like that: recorded trainings."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import optimizer_reset, resume_discontinuity
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset

EPOCHS, PER_EPOCH = 6, 50
Made = torch.optim.Optimizer


@dataclasses.dataclass
class Loop:
    """What a change may reach: it replaces `optimizer` or `model` for the steps that follow."""

    writer: LossLensWriter
    model: nn.Sequential
    optimizer: Made
    make: Callable[[nn.Module], Made]
    kept: dict[str, Any] = dataclasses.field(default_factory=dict)


Change = Callable[[Loop, int, int], None]
"""(loop, epoch, index of the batch in it), before that batch; -1 stands for before the loop over batches."""


def adam(model: nn.Module) -> Made:
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)


def momentum(model: nn.Module) -> Made:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def plain(model: nn.Module) -> Made:
    return torch.optim.SGD(model.parameters(), lr=0.05)


def trained(
    directory: Path,
    change: Change | None = None,
    make: Callable[[nn.Module], Made] = adam,
    *,
    data: str = "gaussian",
    epochs: int = EPOCHS,
) -> Run:
    """Epochs of 50 batches; what is changed is never noted."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset(data)
    classes = y.dtype == torch.long
    y = y if classes else y[:, None]
    model = nn.Sequential(nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 10 if classes else 1))
    criterion = nn.CrossEntropyLoss() if classes else nn.MSELoss()
    with LossLensWriter(str(directory)) as writer:
        loop = Loop(writer, model, make(model), make)
        writer.watch(model, loop.optimizer, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for epoch in range(epochs):
            if change is not None:
                change(loop, epoch, -1)
            for index, (inputs, targets) in enumerate(loader):
                if change is not None:
                    change(loop, epoch, index)
                loop.optimizer.zero_grad()
                criterion(loop.model(inputs), targets).backward()
                loop.optimizer.step()
    return load_runs(directory)["."]


def built_anew(loop: Loop, epoch: int, index: int) -> None:
    if epoch and index == -1:
        loop.optimizer = loop.make(loop.model)


def built_anew_and_watched(loop: Loop, epoch: int, index: int) -> None:
    built_anew(loop, epoch, index)
    if epoch and index == -1:
        loop.writer.watch(optimizer=loop.optimizer)


def emptied(loop: Loop, epoch: int, index: int) -> None:
    if epoch and index == -1:
        loop.optimizer.state.clear()


def zeroed(loop: Loop, epoch: int, index: int) -> None:
    if epoch and index == -1:
        for state in loop.optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor) and value.ndim:
                    value.zero_()


def set_back(loop: Loop, epoch: int, index: int) -> None:
    if (epoch, index) == (0, -1):
        loop.kept = copy.deepcopy(loop.optimizer.state_dict())
    elif index == -1:
        loop.optimizer.load_state_dict(copy.deepcopy(loop.kept))


@pytest.mark.parametrize(
    ("change", "make", "detail"),
    [
        (built_anew, adam, "replaced"), (built_anew_and_watched, adam, "replaced"), (built_anew, momentum, "replaced"),
        (built_anew_and_watched, momentum, "replaced"), (emptied, adam, "cleared"), (emptied, momentum, "cleared"),
        (zeroed, adam, "cleared"), (set_back, adam, "loaded"),
    ],
)  # fmt: skip
def test_a_state_that_is_lost_at_every_boundary_is_proved(tmp_path: Path, change: Change, make: Any, detail: str) -> None:
    run = trained(tmp_path, change, make)
    (finding,) = findings(optimizer_reset, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", detail)
    assert finding.boundaries == tuple(range(EPOCHS - 1))
    assert finding.steps == tuple(range(PER_EPOCH, EPOCHS * PER_EPOCH, PER_EPOCH))
    assert "of 5 that were compared" in finding.evidence[1]
    assert findings(resume_discontinuity, run) == []


def test_healthy_twin_is_fine(tmp_path: Path) -> None:
    assert checked(optimizer_reset, trained(tmp_path)).endswith("that it had before, at 5 of them")


def test_once_without_anything_else_is_a_fault(tmp_path: Path) -> None:
    run = trained(tmp_path, lambda loop, epoch, index: built_anew(loop, epoch, index) if epoch == 4 else None)
    (finding,) = findings(optimizer_reset, run)
    assert (finding.kind, finding.boundaries, finding.steps) == ("fault", (3,), (200,))


def test_inside_an_epoch_it_is_found_too(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int, index: int) -> None:
        if (epoch, index) == (3, 20):
            loop.optimizer = loop.make(loop.model)

    (finding,) = findings(optimizer_reset, trained(tmp_path, change))
    assert (finding.boundaries, finding.steps) == ((), (170,))


def test_a_loss_that_leaps_with_it_is_explained(tmp_path: Path) -> None:
    """The first steps of Adam are as long as the LR allows, which is large here."""

    def twice(loop: Loop, epoch: int, index: int) -> None:
        if epoch in (3, 6):
            built_anew(loop, epoch, index)

    run = trained(tmp_path / "run", twice, sharp, data="plane", epochs=8)
    best = diagnose(run).findings[0]
    assert (best.cause, best.boundaries, best.explains_jump) == ("optimizer_reset", (2, 5), True)
    assert any("times those of the 10 steps before" in line for line in best.evidence)
    assert diagnose(run).kind == "fault"
    assert findings(optimizer_reset, trained(tmp_path / "twin", None, sharp, data="plane", epochs=8)) == []


def sharp(model: nn.Module) -> Made:
    return torch.optim.Adam(model.parameters(), lr=0.1)


def test_plain_sgd_has_nothing_to_lose(tmp_path: Path) -> None:
    assert "remembers nothing that could be lost" in checked(optimizer_reset, trained(tmp_path, built_anew, plain))


def test_a_new_one_that_gets_the_old_state_lost_nothing(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int, index: int) -> None:
        if epoch and index == -1:
            old = loop.optimizer
            loop.optimizer = loop.make(loop.model)
            loop.optimizer.load_state_dict(old.state_dict())

    for make in (adam, momentum):
        assert findings(optimizer_reset, trained(tmp_path / make.__name__, change, make)) == []


def test_a_new_one_that_is_watched_before_it_gets_the_old_state_lost_nothing(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int, index: int) -> None:
        if epoch and index == -1:
            old = loop.optimizer
            loop.optimizer = loop.make(loop.model)
            loop.writer.watch(optimizer=loop.optimizer)
            loop.optimizer.load_state_dict(old.state_dict())

    assert findings(optimizer_reset, trained(tmp_path, change, momentum)) == []


def test_parameters_that_join_later_are_no_reset(tmp_path: Path) -> None:
    """The first layer is frozen until epoch 4: the count of its parameters begins then."""

    def both(model: nn.Module) -> Made:
        return torch.optim.Adam(model.parameters(), lr=0.01)

    def change(loop: Loop, epoch: int, index: int) -> None:
        if index == -1:
            loop.model[0].requires_grad_(epoch >= 4)

    run = trained(tmp_path, change, both)
    assert np.nanmin(run.float("opt_step")[200:]) == 1  # of the first parameter with a count
    assert "that it had before" in checked(optimizer_reset, run)


def test_a_group_that_is_added_is_no_reset(tmp_path: Path) -> None:
    def head(model: nn.Module) -> Made:
        return torch.optim.Adam(model[2].parameters(), lr=0.01)  # type: ignore[index]

    def change(loop: Loop, epoch: int, index: int) -> None:
        if (epoch, index) == (4, -1):
            loop.optimizer.add_param_group({"params": loop.model[0].parameters()})

    assert findings(optimizer_reset, trained(tmp_path, change, head)) == []


def test_another_class_or_other_parameters_are_a_change_that_somebody_made(tmp_path: Path) -> None:
    def other_class(loop: Loop, epoch: int, index: int) -> None:
        if (epoch, index) == (4, -1):
            loop.optimizer = momentum(loop.model)

    def unfrozen(loop: Loop, epoch: int, index: int) -> None:
        if index == -1 and epoch in (0, 4):
            loop.model[0].requires_grad_(epoch == 4)
            loop.optimizer = adam(loop.model)

    for name, change in (("class", other_class), ("unfrozen", unfrozen)):
        assert findings(optimizer_reset, trained(tmp_path / name, change)) == []


def test_one_of_a_set_of_changes_is_not_judged_alone(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int, index: int) -> None:
        if (epoch, index) == (4, -1):
            loop.optimizer = torch.optim.Adam(loop.model.parameters(), lr=0.01, weight_decay=0.1)

    said = checked(optimizer_reset, trained(tmp_path, change))
    assert "other settings change too" in said
    assert "not judged alone" in said


def test_a_resume_in_the_same_process_is_a_resume(tmp_path: Path) -> None:
    """Weights that were saved are loaded, and the optimiser is built without its state."""

    def change(loop: Loop, epoch: int, index: int) -> None:
        if (epoch, index) == (4, -1):
            loop.model.load_state_dict(copy.deepcopy(loop.model.state_dict()))
            loop.optimizer = loop.make(loop.model)

    run = trained(tmp_path, change)
    assert "a state of the model was loaded" in checked(optimizer_reset, run)
    (finding,) = findings(resume_discontinuity, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "optimizer_state")
    assert finding.boundaries == (3,)


def test_a_note_that_says_so_makes_it_planned(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int, index: int) -> None:
        if epoch in (2, 4) and index == -1:
            loop.optimizer.state.clear()
            loop.writer.note("optimiser restarted", kind="config_change")

    (finding,) = findings(optimizer_reset, trained(tmp_path, change))
    assert finding.kind == "planned"


def test_nothing_is_read_from_a_run_that_is_not_finite_any_more(tmp_path: Path) -> None:
    run = trained(tmp_path, lambda loop, epoch, index: emptied(loop, epoch, index) if epoch > 3 else None)
    loss = run.loss.copy()
    loss[150:] = np.nan
    lost = dataclasses.replace(run, columns={**run.columns, "loss": loss})
    assert findings(optimizer_reset, run)
    assert findings(optimizer_reset, lost) == []


def test_numbers_that_a_device_tells_later_are_put_where_they_belong(tmp_path: Path) -> None:
    """The same recording as a device would leave it: counts and norms come with the next record."""
    run = trained(tmp_path, zeroed)
    events, owed = [], []
    for event in run.events:
        states = event.fields.get("optimizer_state")
        if not states:
            events.append(event)
            continue
        bare = [{k: v for k, v in state.items() if k not in ("step", "norms")} for state in states]
        fields = {**event.fields, "optimizer_state": bare, "late_optimizer_state": owed}
        owed = [{"at": event.kind, "epoch": event.fields["epoch"]}]
        for name, value in (states[0].get("norms") or {}).items():
            owed[0][f"0.norms.{name}"] = value
        for name, value in zip(("least", "most"), states[0].get("step") or (), strict=False):
            owed[0][f"0.step.{name}"] = value
        events.append(dataclasses.replace(event, fields=fields))
    (finding,) = findings(optimizer_reset, dataclasses.replace(run, events=tuple(events)))
    assert finding.boundaries == tuple(range(EPOCHS - 1))


def test_without_a_state_it_is_skipped(tmp_path: Path) -> None:
    run = dataclasses.replace(trained(tmp_path), events=())
    assert "writer.watch(model, optimizer" in skipped(optimizer_reset, run).how
