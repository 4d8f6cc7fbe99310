"""Changes of the LR and of settings, and what they are blamed for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter
from tests.analysis.lookalikes.training import Training, causes, checked, faults, said_of


class CutAfterRise(Training):
    """The inputs come in another unit from the fifth epoch on; the LR is cut one epoch later, for the loss that rose."""

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (4 * x + 4 if self.epoch >= 4 else x), y

    def before_epoch(self, writer: LossLensWriter) -> None:
        if self.epoch == 5:
            self.optimizer.param_groups[0]["lr"] = self.lr / 10


class CutThatLowers(Training):
    """Plain SGD bounces in a noisy plane; from the seventh epoch on its LR is a tenth."""

    data, lr, epochs = "plane", 0.15, 10

    def __init__(self) -> None:
        super().__init__()
        self.y, self.held_y = self.y.unsqueeze(1), self.held_y.unsqueeze(1)
        self.criterion = nn.MSELoss()

    def make_model(self) -> nn.Module:
        return nn.Linear(60, 1)

    def before_epoch(self, writer: LossLensWriter) -> None:
        if self.epoch == 6:
            self.optimizer.param_groups[0]["lr"] = self.lr / 10


class RaisedAndCut(Training):
    """The LR itself makes the loss rise, before it is cut again."""

    def before_epoch(self, writer: LossLensWriter) -> None:
        self.optimizer.param_groups[0]["lr"] = self.lr * (20 if self.epoch == 4 else 1)


def test_a_cut_that_follows_a_rise_is_not_blamed_for_it(tmp_path: Path) -> None:
    """Look-alike 2: the LR reacted, an epoch later."""
    said = said_of(tmp_path, CutAfterRise())
    best = said.findings[0]
    assert (best.cause, best.boundaries, best.explains_jump) == ("input_shift", (3,), True)
    assert said.boundaries[3].cause == "input_shift"
    cut = next(finding for finding in said.findings if finding.cause == "lr_decrease")
    assert (cut.kind, cut.boundaries) == ("benign", (4,))
    assert "it answers the rise and did not cause it" in cut.evidence[-1]


def test_a_cut_at_which_the_loss_falls_is_why(tmp_path: Path) -> None:
    """Look-alike 2: the loss moves at the row of the cut, and down."""
    said = said_of(tmp_path, CutThatLowers())
    best = said.findings[0]
    assert (best.cause, best.kind, best.boundaries) == ("lr_decrease", "benign", (5,))
    assert faults(said) == []


def test_an_lr_that_is_raised_before_it_is_cut_is_why(tmp_path: Path) -> None:
    said = said_of(tmp_path, RaisedAndCut())
    best = said.findings[0]
    assert (best.cause, best.boundaries) == ("lr_increase", (3,))
    assert "lr_decrease" not in causes(said)


class Frozen(Training):
    """A network whose first layer is frozen until the fifth epoch."""

    lr = 0.026

    def begin(self, writer: LossLensWriter) -> None:
        self.freeze(frozen=True)
        super().begin(writer)

    def freeze(self, *, frozen: bool) -> None:
        for parameter in self.model[0].parameters():  # type: ignore[index]
            parameter.requires_grad_(not frozen)

    def before_epoch(self, writer: LossLensWriter) -> None:
        if self.epoch == 4:
            self.change(writer)

    def change(self, writer: LossLensWriter) -> None:
        """Unfreezes, and takes a larger batch and another optimiser, all at once."""
        self.freeze(frozen=False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.02)
        writer.watch(optimizer=self.optimizer)
        self.loader = writer.wrap(DataLoader(TensorDataset(self.x, self.y), batch_size=64, shuffle=True))


class FrozenThenFar(Frozen):
    """The same with an optimiser whose LR is far too high."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=0.002)

    def change(self, writer: LossLensWriter) -> None:
        self.freeze(frozen=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=3.0)
        writer.watch(optimizer=self.optimizer)
        self.loader = writer.wrap(DataLoader(TensorDataset(self.x, self.y), batch_size=64, shuffle=True))


class DropoutOff(Training):
    """Only the dropout is turned off at that boundary."""

    dropout = 0.5

    def before_epoch(self, writer: LossLensWriter) -> None:
        if self.epoch == 4:
            self.model[2].p = 0.0  # type: ignore[index]


def test_several_changes_at_one_boundary_are_a_set(tmp_path: Path) -> None:
    """Look-alike 3: none of them is chosen."""
    said = said_of(tmp_path, Frozen())
    best = said.findings[0]
    assert (best.cause, best.kind, best.boundaries) == ("planned_change", "planned", (3,))
    told = " ".join(best.evidence)
    assert all(name in told for name in ("Adam", "batch_size", "trainable", "LR 0.026 -> 0.02"))
    assert "none of them is chosen" in checked(said, "lr_decrease")
    assert faults(said) == []


def test_a_raised_lr_is_not_chosen_of_a_set(tmp_path: Path) -> None:
    said = said_of(tmp_path, FrozenThenFar())
    best = said.findings[0]
    assert (best.cause, best.detail, best.boundaries) == ("planned_change", "set", (3,))
    assert "none of them is chosen" in checked(said, "lr_increase")


def test_a_single_change_is_named(tmp_path: Path) -> None:
    """Look-alike 3: it is all that changed there."""
    said = said_of(tmp_path, DropoutOff())
    best = said.findings[0]
    assert (best.cause, best.boundaries, best.strength) == ("planned_change", (3,), "likely")
    assert "dropout of 2 0.5 -> 0" in " ".join(best.evidence)
    assert faults(said) == []
