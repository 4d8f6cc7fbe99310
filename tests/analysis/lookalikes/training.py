"""The training that the look-alikes share: an ordinary loop through the real writer, of which each overrides one thing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import Diagnosis, LossLensWriter, diagnose, load_runs
from tests.toys import dataset


class Training:
    """Ten overlapping clouds, a small MLP and plain SGD: healthy, and without an effect of the boundaries that is seen.

    Attributes:
        data, samples, held_samples, batch_size, epochs, lr, width, dropout: of the training.
        watched: the writer is told of model, optimiser and criterion; else the loss is what the loop logs.
        epoch, step, index: where it is; `index` counts the batches of the epoch.
        loader: what the next epoch iterates.
    """

    data = "gaussian"
    samples, held_samples, batch_size, epochs = 1600, 400, 32, 8
    lr, width, dropout, seed = 0.1, 64, 0.0, 0
    watched = True

    def __init__(self) -> None:
        torch.manual_seed(self.seed)
        torch.set_num_threads(1)
        self.epoch = self.step = self.index = 0
        x, y, held_x, held_y = dataset(self.data)
        self.x, self.y = x[: self.samples], y[: self.samples].clone()
        self.held_x, self.held_y = held_x[: self.held_samples], held_y[: self.held_samples].clone()
        self.model = self.make_model()
        self.optimizer = self.make_optimizer()
        self.criterion: nn.Module = nn.CrossEntropyLoss()
        self.value = float("nan")

    def make_model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(self.x.shape[1], self.width), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(self.width, 10)
        )

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=self.lr)

    def make_loader(self) -> Iterable[Any]:
        return DataLoader(TensorDataset(self.x, self.y), batch_size=self.batch_size, shuffle=True)

    def record(self, directory: Path | str, **options: Any) -> None:
        """All epochs; `options` of the writer."""
        with LossLensWriter(str(directory), **options) as writer:
            self.begin(writer)
            self.loader = writer.wrap(self.make_loader())
            while self.epoch < self.epochs:
                self.model.train()
                self.before_epoch(writer)
                for index, (x, y) in enumerate(self.loader):
                    self.index = index
                    self.batch(writer, *self.delivered(x, y))
                    self.step += 1
                    self.after_batch(writer)
                self.before_validation()
                self.validate(writer)
                self.epoch += 1

    def begin(self, writer: LossLensWriter) -> None:
        if self.watched:
            writer.watch(self.model, self.optimizer, criterion=self.criterion)

    def before_epoch(self, writer: LossLensWriter) -> None:
        """After the model was put into training mode."""

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What the model and the criterion are given of a batch."""
        return x, y

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor = self.criterion(self.model(x), y)
        return loss

    def batch(self, writer: LossLensWriter, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        writer.add_scalar("Loss/train", self.shown(loss.item()), self.step)

    def shown(self, loss: float) -> float:
        """What the loop logs for the loss of a batch."""
        return loss

    def after_batch(self, writer: LossLensWriter) -> None:
        """After the step."""

    def before_validation(self) -> None:
        """After the last batch of an epoch."""

    def held_out(self) -> tuple[Tensor, Tensor]:
        return self.held_x, self.held_y

    def validate(self, writer: LossLensWriter) -> None:
        with writer.validation(), torch.no_grad():
            self.model.eval()
            x, y = self.held_out()
            self.value = float(self.criterion(self.model(x), y))
            writer.log_validation(self.value)


def said_of(directory: Path, *trainings: Training) -> Diagnosis:
    """What is said of trainings that follow each other in one directory, as processes that go on with a run do."""
    for training in trainings:
        training.record(directory)
    (run,) = load_runs(str(directory)).values()
    return diagnose(run)


def causes(said: Diagnosis) -> list[str]:
    return [finding.cause for finding in said.findings]


def faults(said: Diagnosis) -> list[str]:
    return [finding.cause for finding in said.findings if finding.kind == "fault"]


def checked(said: Diagnosis, cause: str) -> str:
    """The sentence on a cause that was tested and does not hold; fails where it was found or could not be tested."""
    found = {outcome.cause: outcome.text for outcome in said.checked}
    assert cause in found, [cause, causes(said), [s for s in said.skipped if s.cause == cause]]
    return found[cause]
