"""Faults of what is written down: the training is as it should be."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from demo.gallery.loop import Loop, Truth
from tb_losslens import LossLensWriter


class RunningMean(Loop):
    """The mean since the epoch began is written in place of the loss."""

    TRUTH = Truth(("running_mean",), may=("memorization",))
    ON = ("mlp", "cnn", "regression")

    def watch(self, writer: LossLensWriter) -> None:
        writer.watch(self.model, self.optimizer)

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        self.losses: list[float] = []

    def log(self, writer: LossLensWriter, loss: float) -> None:
        self.losses.append(loss)
        super().log(writer, sum(self.losses) / len(self.losses))


class RunningMeanBeside(RunningMean):
    """The same, and the criterion is watched."""

    ON = ("mlp", "transformer")

    def watch(self, writer: LossLensWriter) -> None:
        Loop.watch(self, writer)


class MovingAverage(Loop):
    """An exponential average is written in place of the loss."""

    TRUTH = Truth(("smoothed_metric",))
    ON = ("mlp", "sgd", "lstm")

    def log(self, writer: LossLensWriter, loss: float) -> None:
        self.shown = 0.95 * self.shown + 0.05 * loss if self.step else loss
        super().log(writer, self.shown)


class LastBatchOfValidation(Loop):
    """The held-out loss that is written is that of the last batch."""

    TRUTH = Truth(("validation_aggregation",))
    ON = ("mlp", "cnn", "lstm")

    def validate(self, writer: LossLensWriter, loader) -> None:
        self.model.eval()
        with torch.no_grad():
            for x, y in loader:
                loss = self.criterion(self.model(x), y)
        writer.add_scalar("Loss/val", loss.item(), self.epoch)


class LoggedTwice(Loop):
    """A second process begins in the middle of the first one's steps, in the same directory."""

    TRUTH = Truth(("log_overlap", "resume_discontinuity"), may=("memorization", "repeated_order"))
    ON = ("mlp", "cnn")

    def train(self, directory: str) -> None:
        self.epochs //= 2
        super().train(directory)
        other = type(self)(self.kind, self.seed)
        other.step = self.step // 2
        other.epochs //= 2
        with LossLensWriter(directory) as writer:
            other.record(writer)


class NanToZero(Loop):
    """Now and then a loss is not finite: it is written as 0, and its update is left out."""

    TRUTH = Truth(("hidden_nonfinite",), may=("bad_batch",))
    ON = ("mlp", "regression")

    def watch(self, writer: LossLensWriter) -> None:
        writer.watch(self.model, self.optimizer)

    def update(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        if torch.isfinite(loss):
            self.optimizer.step()

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        loss = super().loss(x, y)
        return loss * float("nan") if self.step > 100 and self.step % 29 == 0 else loss

    def log(self, writer: LossLensWriter, loss: float) -> None:
        super().log(writer, 0.0 if math.isnan(loss) else loss)


