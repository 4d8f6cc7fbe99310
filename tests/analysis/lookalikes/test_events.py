"""Events that lie close to each other, and states that a run goes on with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tb_losslens import Diagnosis, LossLensWriter, diagnose, load_runs
from tests.analysis.lookalikes.training import Training, causes, checked, faults, said_of


class EveryFew(Training):
    """A validation after every 47 batches, in epochs of 50."""

    epochs, every = 10, 47

    def validate(self, writer: LossLensWriter) -> None:
        """None at the end of an epoch."""

    def after_batch(self, writer: LossLensWriter) -> None:
        if self.step % self.every == 0:
            super().validate(writer)
            self.model.train()


class LeftByValidation(EveryFew):
    """The third validation leaves the weights that the training began with in the model."""

    def begin(self, writer: LossLensWriter) -> None:
        super().begin(writer)
        self.first = copy.deepcopy(self.model.state_dict())

    def held_out(self) -> tuple[Tensor, Tensor]:
        if self.step == 3 * self.every:
            self.model.load_state_dict(self.first)
        return super().held_out()


class LoadedAtBoundary(EveryFew):
    """The same weights are loaded between the third epoch and the fourth, nine batches after a validation."""

    def begin(self, writer: LossLensWriter) -> None:
        super().begin(writer)
        self.first = copy.deepcopy(self.model.state_dict())

    def before_epoch(self, writer: LossLensWriter) -> None:
        if self.epoch == 3:
            self.model.load_state_dict(self.first)


def test_a_jump_that_a_validation_makes_close_to_a_boundary_is_not_that_of_the_boundary(tmp_path: Path) -> None:
    """Look-alike 4: its period is nearly that of the epochs, and the loss moves at its row."""
    said = said_of(tmp_path, LeftByValidation())
    best = said.findings[0]
    assert (best.cause, best.detail, best.steps, best.boundaries) == ("weights_swapped", "inside", (141,), ())
    assert not any(boundary.significant for boundary in said.boundaries)
    assert "resume_discontinuity" not in causes(said)


def test_a_jump_at_a_boundary_is_not_that_of_the_validation_close_to_it(tmp_path: Path) -> None:
    """Look-alike 4: the same period, but the weights are those of before at both ends of each validation."""
    said = said_of(tmp_path, LoadedAtBoundary())
    best = said.findings[0]
    assert (best.cause, best.steps, best.boundaries) == ("resume_discontinuity", (150,), (2,))
    assert best.explains_jump
    assert "weights_swapped" not in causes(said)


class Process(Training):
    """One of two processes, with Adam; the second one takes over where the first ended."""

    epochs, lr = 5, 0.01

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=self.lr)

    def go_on_from(self, other: Process, state: dict[str, Any]) -> None:
        """`state`: what is loaded of the other process."""
        self.epoch, self.step, self.epochs = other.epoch, other.step, other.epoch + self.epochs
        torch.manual_seed(1)
        self.model.load_state_dict(state["model"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])

    def state(self) -> dict[str, Any]:
        return copy.deepcopy({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()})


class Averaging(Process):
    """Each validation is of averaged weights, and those are what is saved; the training has its own back after it."""

    def begin(self, writer: LossLensWriter) -> None:
        super().begin(writer)
        self.average = copy.deepcopy(self.model.state_dict())

    def after_batch(self, writer: LossLensWriter) -> None:
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 0.02)

    def validate(self, writer: LossLensWriter) -> None:
        own = copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(self.average)
        super().validate(writer)
        self.saved = self.state()
        self.model.load_state_dict(own)


class Checkpoints(Process):
    """Saves after the second epoch, and not again."""

    def before_validation(self) -> None:
        if self.epoch == 1:
            self.saved = self.state()


def resumed(directory: Path, first: Process, *, what: str = "saved", without: str = "", lr: float | None = None) -> Diagnosis:
    """A second process goes on with the state of the first (`what`: "saved" or "end"), without a part, with another LR."""
    first.record(directory)
    state = first.state() if what == "end" else first.saved  # type: ignore[attr-defined]
    second = Process()
    second.go_on_from(first, {name: value for name, value in state.items() if name != without})
    if lr is not None:
        second.optimizer.param_groups[0]["lr"] = lr
    second.record(directory, purge_step=first.step)
    (run,) = load_runs(str(directory)).values()
    return diagnose(run)


def test_averaged_weights_that_were_saved_are_no_fault_of_a_resume(tmp_path: Path) -> None:
    """Look-alike 8: they are not those that the training ended with, but those that the last validation ran with."""
    said = resumed(tmp_path, Averaging())
    assert faults(said) == []
    told = checked(said, "resume_discontinuity")
    assert "its weights equal those that the validation after step 249 ran with" in told
    assert "not those that the training ended with" in told
    assert "put back" in checked(said, "weights_swapped")


def test_an_old_checkpoint_is_a_fault_of_a_resume(tmp_path: Path) -> None:
    """Look-alike 8: they equal a state of 150 batches before."""
    said = resumed(tmp_path, Checkpoints())
    best = said.findings[0]
    assert (best.cause, best.detail, best.kind, best.strength) == ("resume_discontinuity", "stale_weights", "fault", "proved")
    assert "the weights after step 99" in best.text


def test_an_lr_that_is_raised_at_a_resume_is_no_lost_state(tmp_path: Path) -> None:
    """Look-alike 9: the optimiser has the state that it had, and the LR is another one."""
    said = resumed(tmp_path, Process(), what="end", lr=0.15)
    best = said.findings[0]
    assert (best.cause, best.detail, best.boundaries) == ("lr_increase", "step", (4,))
    assert "its optimiser has state for 4 parameters, and had it for 4 before" in checked(said, "resume_discontinuity")
    checked(said, "optimizer_reset")


def test_a_state_that_is_lost_at_a_resume_is_no_lr(tmp_path: Path) -> None:
    """Look-alike 9: the LR is the same, and the state is gone."""
    said = resumed(tmp_path, Process(), what="end", without="optimizer")
    best = said.findings[0]
    assert (best.cause, best.detail, best.strength) == ("resume_discontinuity", "optimizer_state", "proved")
    assert "never rises at once" in checked(said, "lr_increase")
