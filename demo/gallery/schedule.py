"""Faults, and plans, of the learning rate and of what is changed on purpose."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts
from torch.utils.data import TensorDataset

from demo.data import mixed_units, split
from demo.gallery.loop import Loop, Truth
from tb_losslens import LossLensWriter


class RaisedTenfold(Loop):
    """From the sixth epoch on the LR is ten times as large."""

    TRUTH = Truth(("lr_increase",), may=("lr_too_high", "exploding_gradients", "memorization"), epoch=5)
    ON = ("mlp", "sgd", "cnn")

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        if self.epoch == 5:
            for group in self.optimizer.param_groups:
                group["lr"] *= 10


class _AtTheEdge(Loop):
    """Columns in different units: SGD bounces along the large ones, and the level of the loss goes with its LR."""

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.batch_size = 80

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        return split(mixed_units(80 * 80 + 560, seed=self.seed), 560)

    def make_model(self) -> nn.Module:
        return nn.Linear(80, 1)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), lr=0.1)


class WarmRestarts(_AtTheEdge):
    """A cosine that begins anew every third epoch, with an LR at which the loss is thrown up."""

    TRUTH = Truth(("lr_increase/warm_restart",), may=("memorization",))
    ON = ("regression",)

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs = 12
        self.scheduler = CosineAnnealingWarmRestarts(self.optimizer, T_0=3)


class SchedulerTwice(_AtTheEdge):
    """The scheduler is made anew in the seventh epoch: the LR is that of the start again."""

    TRUTH = Truth(("lr_increase",), may=("memorization", "lr_too_high"), epoch=6)
    ON = ("regression",)

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.first = self.optimizer.param_groups[0]["lr"]
        self.scheduler = CosineAnnealingLR(self.optimizer, T_max=7)

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        if self.epoch == 6:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] = self.first
            self.scheduler = CosineAnnealingLR(self.optimizer, T_max=7)


class CutToATenth(_AtTheEdge):
    """SGD bounces at the edge; from the sixth epoch on its LR is a tenth, and the loss falls at once."""

    TRUTH = Truth(("lr_decrease",), may=("memorization",), epoch=5)
    ON = ("regression",)

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        if self.epoch == 5:
            for group in self.optimizer.param_groups:
                group["lr"] /= 10


class FarTooHigh(Loop):
    """The LR is a hundred times what it should be, from the first step on."""

    TRUTH = Truth(("lr_too_high",), may=("exploding_gradients", "bad_init", "memorization"))
    ON = ("mlp", "sgd", "regression")

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        for group in made.param_groups:
            group["lr"] *= 100
        return made


class StoppedEarly(Loop):
    """A patience of three after the tenth epoch, on a held-out loss of 100 samples, with an LR that needs the planned epochs.

    With a larger one some seeds have learned all that there is before the patience is spent, and lose nothing.
    """

    TRUTH = Truth(("early_stop_premature",))
    ON = ("mlp", "sgd")

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs = 90
        self.best, self.waited = float("inf"), 0
        for group in self.optimizer.param_groups:
            group["lr"] /= 40 if self.kind == "mlp" else 100

    def watch(self, writer: LossLensWriter) -> None:
        writer.watch(
            self.model, self.optimizer, criterion=self.criterion, config={"patience": 3, "epochs": self.epochs}
        )

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        self.pool = held_out
        return train, TensorDataset(*(t[:100] for t in held_out.tensors))

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        drawn = torch.randperm(len(self.pool))[:100]
        self.held_out.tensors = tuple(t[drawn] for t in self.pool.tensors)

    def after_validation(self) -> None:
        self.waited = 0 if self.held_out_loss < self.best or self.epoch < 10 else self.waited + 1
        self.best = min(self.best, self.held_out_loss)

    def is_over(self) -> bool:
        return self.waited >= 3


class NotedChange(Loop):
    """From the sixth epoch on the dropout is far stronger, which the script says."""

    TRUTH = Truth(("planned_change", "over_regularized/dropout_changed"), may=("memorization",), epoch=5)
    ON = ("mlp", "sgd")

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        if self.epoch == 5:
            dropout = next(module for module in self.model.modules() if isinstance(module, nn.Dropout))
            dropout.p = 0.85
            writer.note("stronger dropout from here on", kind="config_change")


class FarTooLow(Loop):
    """The LR is a hundredth of what it should be, a thousandth for numbers: straight downhill, and nowhere."""

    TRUTH = Truth(("lr_too_low",))
    ON = ("mlp", "sgd", "regression", "transformer", "lstm")

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        for group in made.param_groups:
            group["lr"] /= 1000 if self.kind == "regression" else 100
        return made
