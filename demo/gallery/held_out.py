"""Faults that the held-out loss tells of: too little data, too strong a brake, wrong labels, statistics of BatchNorm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import TensorDataset

from demo.data import linear_targets, split
from demo.gallery.loop import Loop, Truth
from tb_losslens import LossLensWriter

_BY_HEART = ("memorization", "insufficient_data", "overfitting", "label_noise")


class Overfits(Loop):
    """A network of 512 units for forty epochs on a few hundred samples with uncertain labels."""

    TRUTH = Truth(("overfitting", "insufficient_data", "memorization"), may=_BY_HEART)
    ON = ("mlp",)

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs = 40

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        return TensorDataset(*(t[:640] for t in train.tensors)), held_out

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(20, 512), nn.ReLU(), nn.Linear(512, 6))


class OverfitsNumbers(Overfits):
    """The same with numbers that are to a part noise: to learn those of the training by heart costs others."""

    ON = ("regression",)

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        return split(linear_targets(300 + 512, 10, noise=0.8, seed=self.seed), 512)

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 1))

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=1e-2)


class DropoutRaised(Loop):
    """From the sixth epoch on four of five units are dropped, and nobody says so."""

    TRUTH = Truth(("over_regularized/dropout_changed",), may=("planned_change",), epoch=5)
    ON = ("mlp", "sgd")

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        if self.epoch == 5:
            next(module for module in self.model.modules() if isinstance(module, nn.Dropout)).p = 0.8


class DropoutFarTooStrong(Loop):
    """Nineteen of twenty units are dropped, from the first step on."""

    TRUTH = Truth(("over_regularized/dropout",), may=("memorization",))
    ON = ("mlp", "sgd")

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.95), nn.Linear(64, 6))


class DecayFarTooStrong(Loop):
    """The weights are pulled to zero faster than they learn."""

    TRUTH = Truth(("over_regularized/weight_decay",), may=("vanishing_gradients",))
    ON = ("sgd", "regression")

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        for group in made.param_groups:
            group["weight_decay"] = 1.0
        return made


class WrongLabels(Loop):
    """A third of the training labels are drawn at random; the held-out ones are right."""

    TRUTH = Truth(("label_noise/some",), may=("memorization", "overfitting"))
    ON = ("cnn",)

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        x, y = train.tensors
        drawn = torch.where(torch.rand(len(y)) < 0.33, torch.randint(0, int(y.max()) + 1, (len(y),)), y)
        return TensorDataset(x, drawn), held_out


class ShuffledLabels(Loop):
    """The labels of all samples are those of others, and a wide network learns them by heart."""

    TRUTH = Truth(("label_noise/all", "memorization"), may=_BY_HEART)
    ON = ("mlp",)

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs = 40

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        (x, y), (held_x, held_y) = train.tensors, held_out.tensors
        return (
            TensorDataset(x[:960], y[torch.randperm(len(y))][:960]),
            TensorDataset(held_x, held_y[torch.randperm(len(held_y))]),
        )

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(20, 512), nn.ReLU(), nn.Linear(512, 6))


class SlowStatistics(Loop):
    """BatchNorm's running statistics follow a thousandth of the way in each batch: the validation lags by epochs."""

    TRUTH = Truth(("batchnorm_drift",), may=("validation_spike",))
    ON = ("cnn",)

    def make_model(self) -> nn.Module:
        model = super().make_model()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.001
        return model


class SlowStatisticsOfLayers(SlowStatistics):
    """The same between linear layers, of which the first begins with a large bias: the statistics do not know the mean."""

    ON = ("mlp", "sgd")

    def make_model(self) -> nn.Module:
        first = nn.Linear(20, 64)
        with torch.no_grad():
            first.bias += 4
        return nn.Sequential(
            first, nn.BatchNorm1d(64, momentum=0.001), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6)
        )


class OtherHeldOutLabels(Loop):
    """In one validation the labels are those of other classes."""

    TRUTH = Truth(("validation_spike", "unknown"), may=("target_shift",))
    ON = ("cnn", "sgd")

    def held_out_sample(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x, (y + 1) % (6 if len(x) == 20 else 10) if self.epoch == 6 else y


class CutsAtNoise(Loop):
    """ReduceLROnPlateau without patience, on a held-out loss of few samples: the LR is gone after a few epochs.

    It begins so low that the training needs more than these: a cut after all was learned would do no harm. Square losses have a
    heavier tail, so that it takes more samples to see that the held-out loss goes with that of the training.
    """

    TRUTH = Truth(("plateau_scheduler/too_eager",), may=("lr_decrease",))
    ON = ("sgd", "regression")

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs = 20
        for group in self.optimizer.param_groups:
            group["lr"] /= 60 if self.kind == "regression" else 30
        self.scheduler = ReduceLROnPlateau(self.optimizer, factor=0.1, patience=0)

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, self.pool = super().data()
        self.drawn = 60 if self.kind == "regression" else 30
        return train, TensorDataset(*(t[: self.drawn] for t in self.pool.tensors))

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        drawn = torch.randperm(len(self.pool))[: self.drawn]
        self.held_out.tensors = tuple(t[drawn] for t in self.pool.tensors)

    def end_epoch(self) -> None:
        """The scheduler waits for the validation."""

    def validate(self, writer: LossLensWriter, loader: Iterable[Any]) -> None:
        super().validate(writer, loader)
        self.scheduler.step(self.held_out_loss)
