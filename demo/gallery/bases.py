"""What the gallery trains: the same five kinds of data and network under every fault, all of them healthy by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.utils.data import TensorDataset

from demo.data import digits, markov_text, split, tanh_targets, teacher_labels
from demo.models import DigitConvNet, NextCharacter, TokenTransformer


@dataclass(frozen=True)
class Base:
    """One kind of training.

    Attributes:
        data: training and held-out samples of a seed.
        model, optimizer: makers.
        criterion: of the model's output and the targets, the mean over the batch.
        batch_size, epochs: of the training.
    """

    data: Callable[[int], tuple[TensorDataset, TensorDataset]]
    model: Callable[[], nn.Module]
    optimizer: Callable[[nn.Module], Optimizer]
    criterion: Callable[..., nn.Module] = nn.CrossEntropyLoss
    batch_size: int = 32
    epochs: int = 10


def _digits(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """The same digits, split by the seed."""
    train, held_out = digits()
    x, y = (torch.cat(pair) for pair in zip(train.tensors, held_out.tensors, strict=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return split(TensorDataset(x[order], y[order]), 360)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6))


def _regressor() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def _adam(lr: float) -> Callable[[nn.Module], Optimizer]:
    return lambda model: Adam(model.parameters(), lr=lr)


def _sgd(lr: float, momentum: float = 0.0) -> Callable[[nn.Module], Optimizer]:
    return lambda model: SGD(model.parameters(), lr=lr, momentum=momentum)


BASES: dict[str, Base] = {
    "mlp": Base(lambda seed: split(teacher_labels(2560 + 512, 20, 6, sharpness=6.0, seed=seed), 512), _mlp, _adam(2e-3)),
    "sgd": Base(lambda seed: split(teacher_labels(2560 + 512, 20, 6, sharpness=6.0, seed=seed), 512), _mlp, _sgd(0.05, 0.9)),
    "cnn": Base(_digits, DigitConvNet, _sgd(0.05, 0.9)),
    "regression": Base(
        lambda seed: split(tanh_targets(2560 + 512, 10, noise=0.3, seed=seed), 512), _regressor, _sgd(0.05), nn.MSELoss
    ),
    "lstm": Base(
        lambda seed: split(markov_text(1280 + 256, 12, seed=seed), 256),
        lambda: NextCharacter(characters=12, hidden=24),
        _adam(4e-3),
        batch_size=24,
        epochs=8,
    ),
    "transformer": Base(
        lambda seed: split(markov_text(1280 + 256, 12, seed=seed), 256),
        lambda: TokenTransformer(characters=12, width=24),
        lambda model: AdamW(model.parameters(), lr=3e-3),
        batch_size=24,
        epochs=8,
    ),
}
"""The kinds by name."""
