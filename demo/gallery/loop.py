"""The training loop of the gallery: an ordinary one, of which a fault changes one thing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from demo.gallery.bases import BASES
from tb_losslens import LossLensWriter


@dataclass(frozen=True)
class Truth:
    """What is wrong with a training.

    Attributes:
        answers: what may lead the findings, each as "cause" or "cause/detail"; empty where nothing is wrong.
        may: causes that are true of it, too.
        epoch: the first epoch that differs, None where no boundary is special.
        step: the first step that differs, None where none is.
    """

    answers: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    epoch: int | None = None
    step: int | None = None


class Transformed(Dataset[tuple[Tensor, Tensor]]):
    """Samples of a loop as its `sample` gives them."""

    def __init__(self, loop: Loop, data: TensorDataset, *, training: bool) -> None:
        self.loop, self.data, self.training = loop, data, training

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.data[index]
        return self.loop.sample(index, x, y) if self.training else self.loop.held_out_sample(x, y)


class Loop:
    """A healthy training. A fault is a subclass that overrides the one thing that is done wrong, and never notes it.

    Attributes:
        TRUTH: what is wrong.
        ON: kinds of training (`BASES`) that have it.
        kind, base: the kind, by name and itself.
        epoch, step: where the training is.
    """

    TRUTH: ClassVar[Truth] = Truth()
    ON: ClassVar[tuple[str, ...]] = tuple(BASES)

    def __init__(self, base: str, seed: int) -> None:
        self.kind, self.base, self.seed = base, BASES[base], seed
        self.epochs, self.batch_size = self.base.epochs, self.base.batch_size
        self.epoch = self.step = 0
        torch.manual_seed(seed)
        self.train_data, self.held_out = self.data()
        self.model = self.make_model()
        self.optimizer = self.make_optimizer()
        self.criterion = self.base.criterion()
        self.scheduler: Any = None
        self.shown = 0.0

    # --- what it is made of -----------------------------------------------------------------------------------------

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        """Samples for training and validation."""
        return self.base.data(self.seed)

    def make_model(self) -> nn.Module:
        """The network."""
        return self.base.model()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Its optimiser."""
        return self.base.optimizer(self.model)

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - for a fault
        """A training sample as it is delivered."""
        return x, y

    def held_out_sample(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """A validation sample as it is delivered."""
        return x, y

    def make_loader(self) -> Iterable[Any]:
        """The loader of the training data."""
        return DataLoader(Transformed(self, self.train_data, training=True), batch_size=self.batch_size, shuffle=True)

    def make_held_out_loader(self) -> Iterable[Any]:
        """The loader of the held-out data."""
        return DataLoader(Transformed(self, self.held_out, training=False), batch_size=128)

    def watch(self, writer: LossLensWriter) -> None:
        """Names what is trained."""
        writer.watch(self.model, self.optimizer, scheduler=self.scheduler, criterion=self.criterion)

    # --- what it does -----------------------------------------------------------------------------------------------

    def train(self, directory: str) -> None:
        """Trains, recorded in `directory`."""
        with LossLensWriter(directory) as writer:
            self.record(writer)

    def record(self, writer: LossLensWriter) -> None:
        """All epochs that are left."""
        self.watch(writer)
        loader = writer.wrap(self.make_loader())
        held_out = writer.wrap(self.make_held_out_loader(), split="val")
        while self.epoch < self.epochs and not self.is_over():
            self.begin_epoch(writer)
            for x, y in loader:
                self.train_batch(x, y, writer)
                self.step += 1
            self.end_epoch()
            self.validate(writer, held_out)
            self.after_validation()
            self.epoch += 1

    def is_over(self) -> bool:
        """True if the training ends before its last epoch."""
        return False

    def begin_epoch(self, writer: LossLensWriter) -> None:  # noqa: ARG002 - for a fault
        """Before the first batch of an epoch."""
        self.model.train()

    def train_batch(self, x: Tensor, y: Tensor, writer: LossLensWriter) -> None:
        """One batch."""
        x, y = self.delivered(x, y)
        loss = self.loss(x, y)
        self.update(loss)
        self.log(writer, loss.item())

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What is done to a batch after the loader."""
        return x, y

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = self.criterion(self.model(x), y)
        return loss

    def update(self, loss: Tensor) -> None:
        """Changes the weights."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def log(self, writer: LossLensWriter, loss: float) -> None:
        """Writes the loss."""
        writer.add_scalar("Loss/train", loss, self.step)

    def end_epoch(self) -> None:
        """After the last batch of an epoch."""
        if self.scheduler is not None:
            self.scheduler.step()

    def validate(self, writer: LossLensWriter, loader: Iterable[Any]) -> None:
        """Evaluates the held-out data and writes their loss."""
        self.model.eval()
        total, samples = 0.0, 0
        with torch.no_grad():
            for x, y in loader:
                total += self.criterion(self.model(x), y).item() * len(y)
                samples += len(y)
        self.held_out_loss = total / samples
        writer.add_scalar("Loss/val", self.held_out_loss, self.epoch)

    def after_validation(self) -> None:
        """Between the validation and the next epoch."""
