"""Faults of the data: what is delivered, in which order, and what is different about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from demo.gallery.loop import Loop, Transformed, Truth
from tb_losslens import LossLensWriter


def _sorted(data: TensorDataset) -> TensorDataset:
    x, y = data.tensors
    key = y if y.dim() == 1 else y[:, 0] if y.dim() == 2 else y
    order = torch.argsort(key.float(), stable=True)
    return TensorDataset(x[order], y[order])


class SortedData(Loop):
    """The data are sorted by their targets, and nobody shuffles."""

    TRUTH = Truth(("incomplete_shuffle",), may=("repeated_order", "target_shift", "validation_spike", "memorization"))
    ON = ("mlp", "cnn", "regression")

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        return _sorted(train), held_out

    def make_loader(self) -> Iterable[Any]:
        return DataLoader(Transformed(self, self.train_data, training=True), batch_size=self.batch_size)


class _Buffer(Sampler[int]):
    """Draws from a buffer that is filled in order."""

    def __init__(self, samples: int, size: int) -> None:
        self.samples, self.size = samples, size

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        buffer: list[int] = []
        for index in range(self.samples):
            buffer.append(index)
            if len(buffer) >= self.size:
                yield buffer.pop(int(torch.randint(len(buffer), ())))
        while buffer:
            yield buffer.pop(int(torch.randint(len(buffer), ())))


class SmallShuffleBuffer(SortedData):
    """Sorted data go through a shuffle buffer of an eighth of them."""

    ON = ("mlp", "cnn", "regression")

    def make_loader(self) -> Iterable[Any]:
        data = Transformed(self, self.train_data, training=True)
        return DataLoader(data, batch_size=self.batch_size, sampler=_Buffer(len(data), len(data) // 8))


class SameOrder(Loop):
    """The generator of the sampler is seeded anew in each epoch."""

    TRUTH = Truth(("repeated_order",), may=("memorization",))
    ON = ("mlp", "cnn", "lstm")

    def make_loader(self) -> Iterable[Any]:
        self.generator = torch.Generator()
        data = Transformed(self, self.train_data, training=True)
        return DataLoader(data, batch_size=self.batch_size, shuffle=True, generator=self.generator)

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        self.generator.manual_seed(7)


class SumOverBatch(Loop):
    """The loss is a sum that is divided by the usual batch size; the last batch of an epoch is a third of one."""

    TRUTH = Truth(("partial_last_batch",), may=("memorization",))
    ON = ("mlp", "regression", "sgd")

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.criterion = type(self.criterion)(reduction="sum")

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        keep = len(train) // self.batch_size * self.batch_size - 2 * self.batch_size // 3
        return TensorDataset(*(t[:keep] for t in train.tensors)), held_out

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return super().loss(x, y) / self.batch_size

    def validate(self, writer: LossLensWriter, loader: Iterable[Any]) -> None:
        """None: a sum over batches is no value to compare."""


class RareClass(Loop):
    """One of two classes has a twenty-fifth of the samples."""

    TRUTH = Truth(("class_imbalance",), may=("memorization",))
    ON = ("mlp", "sgd")

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        parts = []
        for data in (train, held_out):
            x, y = data.tensors
            y = (y == 0).long()
            kept = (y == 0) | (torch.rand(len(y)) < 0.2)
            parts.append(TensorDataset(x[kept], y[kept]))
        return parts[0], parts[1]


class SpoiledInputs(Loop):
    """Five batches in the middle of an epoch come in another unit."""

    TRUTH = Truth(("bad_batch/inputs", "bad_batch/data"), may=("exploding_gradients", "lr_too_high"), step=275)
    ON = ("mlp", "sgd", "regression")

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (20 * x + 3, y) if 275 <= self.step < 280 else (x, y)


class SpoiledLabels(Loop):
    """Six batches in the middle of an epoch come with the labels of other classes."""

    TRUTH = Truth(("bad_batch",), may=("target_shift",), step=290)
    ON = ("cnn", "mlp")

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - as of the loop
        return (x, (y + 1) % 6 if len(x) == 20 else (y + 1) % 10) if 290 <= self.step < 296 else (x, y)


class NotANumber(Loop):
    """One sample of a batch is NaN; the training is lost from there on."""

    TRUTH = Truth(("bad_batch",), may=("hidden_nonfinite",), step=333)
    ON = ("mlp", "cnn", "regression")

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.step == 333:
            x = x.clone()
            x[0, 0] = float("nan")
        return x, y


class FarSamples(Loop):
    """Six samples are in another unit, in every epoch."""

    TRUTH = Truth(("outlier_samples", "bad_batch/recurring"), may=("memorization", "batchnorm_drift"))
    ON = ("sgd", "cnn")

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (60 * (x + 1), y) if index % 211 == 5 else (x, y)


class OtherNormalization(Loop):
    """From the sixth epoch on the inputs are normalised with other numbers."""

    TRUTH = Truth(("input_shift",), may=("validation_mismatch", "overfitting"), epoch=5)
    ON = ("mlp", "cnn", "regression")

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - as of the loop
        return (2.5 * x + 1.5, y) if self.epoch >= 5 else (x, y)


class NoisyFromThere(Loop):
    """From the fifth epoch on the inputs are noisy."""

    TRUTH = Truth(("input_shift",), may=("validation_mismatch", "overfitting"), epoch=4)
    ON = ("mlp", "cnn")

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - as of the loop
        return (x + 1.5 * torch.randn_like(x), y) if self.epoch >= 4 else (x, y)


class OtherNumbering(Loop):
    """From the sixth epoch on the classes are numbered in another way."""

    TRUTH = Truth(("target_shift",), may=("lr_too_high", "overfitting"), epoch=5)
    ON = ("mlp", "cnn", "sgd")

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - as of the loop
        return (x, (y + 1) % 6 if len(x) == 20 else (y + 1) % 10) if self.epoch >= 5 else (x, y)


class OtherTargets(Loop):
    """From the sixth epoch on the targets are in another unit."""

    TRUTH = Truth(("target_shift",), may=("overfitting",), epoch=5)
    ON = ("regression",)

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - as of the loop
        return (x, 3 * y + 1) if self.epoch >= 5 else (x, y)


class RawValidation(Loop):
    """The held-out data are not normalised as the training data are."""

    TRUTH = Truth(("validation_mismatch",), may=("overfitting",))
    ON = ("mlp", "cnn", "regression")

    def held_out_sample(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return 4 * x + 2, y


class SameAugmentation(Loop):
    """The random numbers of the augmentation begin anew with each epoch; the order does not."""

    TRUTH = Truth(("repeated_augmentation",), may=("memorization",))
    ON = ("mlp", "cnn")

    def make_loader(self) -> Iterable[Any]:
        data = Transformed(self, self.train_data, training=True)
        own = torch.Generator().manual_seed(self.seed)
        return DataLoader(data, batch_size=self.batch_size, shuffle=True, generator=own)

    def sample(self, index: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - as of the loop
        return x + 0.2 * torch.randn_like(x), y

    def begin_epoch(self, writer: LossLensWriter) -> None:
        super().begin_epoch(writer)
        torch.manual_seed(11)
