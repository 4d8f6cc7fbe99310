"""What few samples do: learned by heart, forgotten between two passes, or too few in a batch to show the trend."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import TensorDataset

from demo.gallery.loop import Loop, Truth
from demo.models import NextCharacter, TokenTransformer


class FewSamples(Loop):
    """A large network passes twenty times over a few hundred samples: each pass begins lower."""

    TRUTH = Truth(("memorization",), may=("overfitting", "insufficient_data", "label_noise"))
    ON = ("mlp",)

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs, self.batch_size = 20, 16

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        return TensorDataset(*(t[:800] for t in train.tensors)), held_out

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(20, 512), nn.ReLU(), nn.Linear(512, 6))


class FewImages(FewSamples):
    """The same with images: a convolution passes over four hundred of them."""

    ON = ("cnn",)

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = (
            TensorDataset(x + 0.8 * torch.randn_like(x), y) for x, y in (part.tensors for part in Loop.data(self))
        )
        return TensorDataset(*(t[:480] for t in train.tensors)), held_out

    def make_model(self) -> nn.Module:
        return Loop.make_model(self)


class ForgetsWithinAPass(Loop):
    """Half of the labels are drawn at random and the LR is high: what is learned of a sample is lost until it comes back."""

    TRUTH = Truth(("epochal_sawtooth",), may=("memorization", "overfitting", "insufficient_data", "label_noise"))
    ON = ("mlp", "sgd")

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs = 14

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        x, y = (t[:800] for t in train.tensors)
        return TensorDataset(x, torch.where(torch.rand(len(y)) < 0.5, torch.randint(0, 6, (len(y),)), y)), held_out

    def make_model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(20, 512), nn.ReLU(), nn.Linear(512, 6))

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        for group in made.param_groups:
            group["lr"] *= 5 if self.kind == "mlp" else 3
        return made


class ForgetsText(Loop):
    """A wide network learns two hundred pieces of random text by heart, and forgets them until they come again."""

    TRUTH = Truth(("epochal_sawtooth",), may=("memorization", "overfitting", "insufficient_data", "label_noise"))
    ON = ("lstm", "transformer")

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.epochs, self.batch_size = 20, 8

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        x, y = (t[:200] for t in train.tensors)
        return TensorDataset(x, torch.randint(0, 12, y.shape)), held_out

    def make_model(self) -> nn.Module:
        return NextCharacter(12, 128) if self.kind == "lstm" else TokenTransformer(12, 128)

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        for group in made.param_groups:
            group["lr"] *= 3
        return made


class FewInABatch(Loop):
    """Two samples in a batch, with an LR to match: the loss strays by as much as it falls in the whole training.

    Of text it is one, whose loss is already the mean over its symbols.
    """

    TRUTH = Truth(("small_batch_noise",), may=("memorization",))
    ON = ("mlp", "sgd", "regression", "transformer")

    def __init__(self, base: str, seed: int) -> None:
        super().__init__(base, seed)
        self.batch_size, self.epochs = 1 if self.kind == "transformer" else 2, 3

    def data(self) -> tuple[TensorDataset, TensorDataset]:
        train, held_out = super().data()
        return TensorDataset(*(t[:1024] for t in train.tensors)), held_out

    def make_optimizer(self) -> torch.optim.Optimizer:
        made = super().make_optimizer()
        for group in made.param_groups:
            group["lr"] /= 8
        return made
