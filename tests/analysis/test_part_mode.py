"""A part of the model in evaluation mode, in recorded trainings of an autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import wrong_mode
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.toys import dataset

EPOCHS, PER_EPOCH = 8, 40
Before = Callable[[LossLensWriter, nn.Sequential, int], None]


def trained(
    directory: Path,
    before: Before,
    *,
    dropout: float = 0.4,
    each_batch: Callable[[nn.Sequential, int], None] | None = None,
) -> Run:
    """Reconstructs digits; `before` runs before each epoch, `each_batch` before each batch with its place in the epoch."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, _, _, _ = dataset("digits", 1600)
    encoder = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout) if dropout else nn.Identity())
    model = nn.Sequential(encoder, nn.Linear(32, 64))
    optimizer, criterion = torch.optim.Adam(model.parameters(), 2e-3), nn.MSELoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x[: 25 * PER_EPOCH]), batch_size=25, shuffle=True))
        for epoch in range(EPOCHS):
            before(writer, model, epoch)
            for i, (inputs,) in enumerate(loader):
                if each_batch is not None:
                    each_batch(model, i)
                optimizer.zero_grad()
                criterion(model(inputs), inputs).backward()
                optimizer.step()
    (run,) = load_runs(str(directory)).values()
    return run


def frozen(model: nn.Sequential, on: bool) -> None:
    """Trains the whole model, or all but its encoder."""
    model.train()
    model[0].train(not on)
    model[0].requires_grad_(not on)


def left_in_eval(writer: LossLensWriter, model: nn.Sequential, epoch: int) -> None:
    if epoch == 5:
        model[0].eval()  # and nobody takes it back


def test_a_part_that_is_left_in_eval_mode_explains_the_jump(tmp_path: Path) -> None:
    run = trained(tmp_path, left_in_eval)
    best = diagnose(run).findings[0]
    assert (best.cause, best.detail, best.kind, best.strength) == ("wrong_mode", "training_in_eval", "fault", "proved")
    assert (best.boundaries, best.steps, best.explains_jump) == ((4,), (5 * PER_EPOCH,), True)
    assert best.share is not None
    assert best.share > 0.5
    assert f"`train_mode` goes from 1 to 0.5 at step {5 * PER_EPOCH}" in best.evidence[0]
    assert "1 dropout module" in best.evidence[-1]


def test_without_an_effect_it_is_said_and_not_judged(tmp_path: Path) -> None:
    (finding,) = findings(wrong_mode, trained(tmp_path, left_in_eval, dropout=0.002))
    assert (finding.kind, finding.strength, finding.explains_jump) == ("benign", "possible", False)


def test_a_part_that_is_frozen_as_well_is_planned(tmp_path: Path) -> None:
    """The loss jumps as much; that its parameters train no more says that somebody froze it."""
    (finding,) = findings(wrong_mode, trained(tmp_path, lambda _, model, epoch: frozen(model, epoch >= 5)))
    assert (finding.kind, finding.explains_jump) == ("planned", True)


def test_noted_it_is_planned(tmp_path: Path) -> None:
    def before(writer: LossLensWriter, model: nn.Sequential, epoch: int) -> None:
        if epoch == 5:
            writer.note("no dropout from here on", kind="config_change")
        left_in_eval(writer, model, epoch)

    (finding,) = findings(wrong_mode, trained(tmp_path, before))
    assert (finding.kind, finding.explains_jump) == ("planned", True)


@pytest.mark.parametrize("at", [1, 4])
def test_a_part_that_is_unfrozen_is_no_fault(tmp_path: Path, at: int) -> None:
    """Gradual unfreezing, that nobody notes."""
    run = trained(tmp_path, lambda _, model, epoch: frozen(model, epoch < at))
    assert {finding.kind for finding in findings(wrong_mode, run)} <= {"planned"}


def test_a_part_that_leaves_eval_mode_alone_is_named_where_the_loss_moves(tmp_path: Path) -> None:
    """Its parameters trained all along: `model.train()` may have taken back what was frozen on purpose."""

    def before(writer: LossLensWriter, model: nn.Sequential, epoch: int) -> None:
        model.train()
        model[0].train(epoch >= 4)

    (finding,) = findings(wrong_mode, trained(tmp_path, before))
    assert (finding.kind, finding.boundaries, finding.explains_jump) == ("planned", (3,), True)
    assert "has taken its `eval()` back" in finding.advice


def test_a_part_that_is_frozen_from_the_first_step_is_no_finding(tmp_path: Path) -> None:
    assert "as frozen layers do" in checked(wrong_mode, trained(tmp_path, lambda _, model, epoch: frozen(model, True)))


def test_a_part_without_modes_is_no_finding(tmp_path: Path) -> None:
    run = trained(tmp_path, left_in_eval, dropout=0.0)
    assert f"a part of the model did, from step {5 * PER_EPOCH} on" in checked(wrong_mode, run)


def test_a_part_that_takes_turns_within_each_epoch_is_in_both_modes_by_design(tmp_path: Path) -> None:
    def turn(model: nn.Sequential, i: int) -> None:
        model[0].train(i % 10 < 5)

    assert "with 63 changes of it" in checked(wrong_mode, trained(tmp_path, lambda *_: None, each_batch=turn))
