"""Trainings in which something is changed at a boundary, noted or not, with and without an effect: recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import Diagnosis, LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.change_set import change_sets
from tb_losslens.analysis.engine import build_context
from tb_losslens.store.run import Run
from tests.toys import dataset

EPOCHS = 8


@dataclass
class Loop:
    """What a change may reach; `penalty` is added to the loss, `loader` is what the next epoch iterates."""

    writer: LossLensWriter
    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    criterion: nn.Module
    data: TensorDataset
    loader: DataLoader[tuple[Tensor, ...]]
    penalty: float = 0.0
    kept: list[object] = field(default_factory=list)


Change = Callable[[Loop, int], None]
"""(loop, epoch), before that epoch."""


def trained(directory: Path, change: Change, *, dropout: float = 0.5) -> Run:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 10))
    criterion = nn.CrossEntropyLoss()
    data = TensorDataset(x, y)
    with LossLensWriter(str(directory)) as writer:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loop = Loop(writer, model, optimizer, criterion, data, DataLoader(data, batch_size=32, shuffle=True))
        writer.watch(model, optimizer, criterion=criterion)
        loop.loader = writer.wrap(loop.loader)
        for epoch in range(EPOCHS):
            change(loop, epoch)
            for inputs, targets in loop.loader:
                loop.optimizer.zero_grad()
                loss = loop.criterion(loop.model(inputs), targets) + loop.penalty
                loss.backward()
                loop.optimizer.step()
                writer.log_batch(loss)
    return load_runs(directory)["."]


def at(epoch: int, change: Callable[[Loop], None]) -> Change:
    return lambda loop, now: change(loop) if now == epoch else None


def dropout_off(loop: Loop) -> None:
    loop.model[2].p = 0.0  # type: ignore[assignment]


def smoothed_labels(loop: Loop) -> None:
    loop.criterion = nn.CrossEntropyLoss(label_smoothing=0.2)
    loop.writer.watch(criterion=loop.criterion)


def new_term(loop: Loop) -> None:
    loop.penalty = 0.5
    loop.writer.note("penalty of the weights", kind="config_change")


def many(loop: Loop) -> None:
    """A new optimiser of another class, larger batches and smoothed labels."""
    smoothed_labels(loop)
    loop.optimizer = torch.optim.Adam(loop.model.parameters(), lr=0.003)
    loop.writer.watch(optimizer=loop.optimizer)
    loop.loader = loop.writer.wrap(DataLoader(loop.data, batch_size=64, shuffle=True))


def led(diagnosis: Diagnosis) -> tuple[str, str, str, str]:
    best = diagnosis.findings[0]
    return best.cause, best.detail, best.kind, best.strength


@pytest.mark.parametrize(
    ("change", "words"),
    [(dropout_off, "dropout of 2 0.5 -> 0"), (smoothed_labels, "label_smoothing"), (new_term, '"penalty of the weights"')],
)
def test_a_change_that_moves_the_loss_is_named(tmp_path: Path, change: Callable[[Loop], None], words: str) -> None:
    said = diagnose(trained(tmp_path, at(4, change)))
    best = said.findings[0]
    assert (best.cause, best.kind, best.strength, best.boundaries) == ("planned_change", "planned", "likely", (3,))
    assert best.explains_jump
    assert words in " ".join(best.evidence)
    assert any("6 boundaries are without a change, and none of them" in line for line in best.evidence)
    assert said.boundaries[3].cause == "planned_change"
    assert said.kind == "planned"


def test_several_changes_at_once_are_a_set(tmp_path: Path) -> None:
    best = diagnose(trained(tmp_path, at(4, many))).findings[0]
    assert (best.cause, best.detail, best.kind, best.boundaries) == ("planned_change", "set", "planned", (3,))
    assert "(criterion, optimiser and data)" in best.text
    listed = " ".join(best.evidence)
    for part in ("optimizer class SGD -> Adam", "criterion label_smoothing 0 -> 0.2", "loader batch_size 32 -> 64"):
        assert part in listed
    assert any("which of them it is cannot be told" in line for line in best.against)


def test_a_plain_note_of_a_change_is_possible_at_most(tmp_path: Path) -> None:
    def noted(loop: Loop) -> None:
        loop.penalty = 0.5
        loop.writer.note("new loss term added")

    assert led(diagnose(trained(tmp_path, at(4, noted)))) == ("planned_change", "single", "planned", "possible")


def test_a_note_of_something_else_explains_nothing(tmp_path: Path) -> None:
    def noted(loop: Loop) -> None:
        loop.penalty = 0.5
        loop.writer.note("best so far")

    assert diagnose(trained(tmp_path, at(4, noted))).findings[0].cause == "unknown"


def test_a_change_without_an_effect_is_said_and_not_found(tmp_path: Path) -> None:
    said = diagnose(trained(tmp_path, at(4, lambda loop: loop.writer.note("nothing to see", kind="config_change"))))
    assert "planned_change" not in [finding.cause for finding in said.findings]
    (text,) = [item.text for item in said.checked if item.cause == "planned_change"]
    assert '"nothing to see" at boundary 4' in text


def test_a_change_at_another_boundary_than_the_jump_is_not_blamed(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int) -> None:
        if epoch == 3:
            loop.writer.note("seeds renewed", kind="config_change")
        if epoch == 6:
            loop.penalty = 0.5

    said = diagnose(trained(tmp_path, change))
    assert said.findings[0].cause == "unknown"
    assert "planned_change" not in [finding.cause for finding in said.findings]


def test_as_many_jumps_without_a_change_veto_it(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int) -> None:
        if epoch in (3, 5):
            loop.penalty += 0.9
        if epoch == 3:
            loop.writer.note("penalty", kind="config_change")

    said = diagnose(trained(tmp_path, change))
    (text,) = [item.text for item in said.checked if item.cause == "planned_change"]
    assert "and at 1 others without" in text


def test_a_habit_of_each_epoch_is_no_change(tmp_path: Path) -> None:
    def change(loop: Loop, epoch: int) -> None:
        loop.writer.note(f"epoch {epoch}: data replaced", kind="config_change")
        if epoch == 4:
            loop.penalty = 0.5

    run = trained(tmp_path, change)
    context = build_context(run)
    assert change_sets(run, context.epochs, context.boundaries) == {}
    assert diagnose(run).findings[0].cause == "unknown"


def test_a_jump_that_another_cause_proves_is_left_to_it(tmp_path: Path) -> None:
    def change(loop: Loop) -> None:
        loop.model.eval()
        loop.writer.note("new seeds", kind="config_change")

    said = diagnose(trained(tmp_path, at(4, change)))
    assert led(said)[:2] == ("wrong_mode", "training_in_eval")
    assert "planned_change" not in [finding.cause for finding in said.findings]


def test_healthy_twin_is_fine(tmp_path: Path) -> None:
    said = diagnose(trained(tmp_path, lambda loop, epoch: None))
    (text,) = [item.text for item in said.checked if item.cause == "planned_change"]
    assert text == "nothing is known to have been changed at 7 boundaries"


def test_plain_sgd_that_is_built_again_changes_nothing(tmp_path: Path) -> None:
    def again(loop: Loop) -> None:
        loop.optimizer = torch.optim.SGD(loop.model.parameters(), lr=0.1)
        loop.penalty = 0.5

    assert diagnose(trained(tmp_path, at(4, again))).findings[0].cause == "unknown"
