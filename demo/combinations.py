"""Trainings in which nothing is wrong: combinations of data, model, optimiser and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from demo.data import digits, linear_targets, markov_text, split, tanh_targets, teacher_labels
from demo.models import DigitConvNet, NextCharacter, TokenTransformer


@dataclass
class Setup:
    """Everything that one training needs.

    Attributes:
        model, optimizer, criterion, train_loader, val_loader: as ever.
        scheduler: or None for a constant LR.
        per_batch: the scheduler is stepped after each batch, else after each epoch (on a plateau: with the held-out loss).
        clip: largest gradient norm, or None.
        epochs: passes over the training data.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    criterion: nn.Module
    train_loader: DataLoader[tuple[Tensor, Tensor]]
    val_loader: DataLoader[tuple[Tensor, Tensor]]
    scheduler: LRScheduler | ReduceLROnPlateau | None = None
    per_batch: bool = False
    clip: float | None = None
    epochs: int = 10


def _loaders(train: Dataset, held_out: Dataset, batch_size: int) -> tuple[DataLoader, DataLoader]:
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(held_out, batch_size=128)


def noisy_small_batches(seed: int) -> Setup:
    """Batches of four, a linear model, a constant LR."""
    train, held_out = split(linear_targets(800 + 200, 8, noise=1.0, seed=seed), 200)
    model = nn.Linear(8, 1)
    return Setup(model, torch.optim.SGD(model.parameters(), lr=0.01), nn.MSELoss(), *_loaders(train, held_out, 4))


def cosine_decay(seed: int) -> Setup:
    """One cosine over the whole run."""
    train, held_out = split(teacher_labels(2560 + 256, 20, 5, seed=seed), 256)
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = CosineAnnealingLR(optimizer, T_max=10 * 80)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 32), scheduler, per_batch=True)


def plateau(seed: int) -> Setup:
    """ReduceLROnPlateau on the held-out loss."""
    train, held_out = split(tanh_targets(2560 + 512, 10, noise=0.3, seed=seed), 512)
    model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = ReduceLROnPlateau(optimizer, patience=1, factor=0.3)
    return Setup(model, optimizer, nn.MSELoss(), *_loaders(train, held_out, 32), scheduler, epochs=12)


def step_decay(seed: int) -> Setup:
    """The LR is cut to a third twice."""
    train, held_out = split(teacher_labels(2560 + 256, 20, 5, seed=seed), 256)
    model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    scheduler = StepLR(optimizer, step_size=4, gamma=0.3)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 40), scheduler, epochs=12)


def dropout(seed: int) -> Setup:
    """Half of the units are dropped while training, none while validating."""
    train, held_out = digits()
    del seed  # the data are what they are; only the initialisation and the order differ
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 32), epochs=12)


def _imbalanced(samples: int, seed: int) -> TensorDataset:
    x, y = teacher_labels(samples, 16, 2, seed=seed).tensors
    generator = torch.Generator().manual_seed(seed)
    kept = (y == 0) | (torch.rand(len(y), generator=generator) < 0.12)
    return TensorDataset(x[kept], y[kept])


def weighted_sampler(seed: int) -> Setup:
    """One class is rare; a weighted sampler draws it as often as the other, with replacement."""
    train, held_out = split(_imbalanced(4000, seed), 256)
    labels = train.tensors[1]
    weights = 1.0 / torch.bincount(labels).double()[labels]
    sampler = WeightedRandomSampler(weights.tolist(), num_samples=len(train))
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(train, batch_size=24, sampler=sampler)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), loader, DataLoader(held_out, batch_size=128))


def weighted_loss(seed: int) -> Setup:
    """One class is rare; the loss counts it as much as the other."""
    train, held_out = split(_imbalanced(4000, seed), 256)
    share = torch.bincount(train.tensors[1]).float() / len(train)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Setup(model, optimizer, nn.CrossEntropyLoss(weight=0.5 / share), *_loaders(train, held_out, 32))


def warm_up(seed: int) -> Setup:
    """The LR rises over the first two epochs and falls as 1/sqrt(step) afterwards."""
    train, held_out = split(teacher_labels(2560 + 256, 24, 6, seed=seed), 256)
    model = nn.Sequential(nn.Linear(24, 48), nn.LayerNorm(48), nn.GELU(), nn.Linear(48, 6))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    scheduler = LambdaLR(optimizer, lambda step: min((step + 1) / 160, math.sqrt(160 / (step + 1))))
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 32), scheduler, per_batch=True)


class Shifted(Dataset[tuple[Tensor, Tensor]]):
    """Digits moved by up to a pixel in each direction."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.data[index]
        down, right = torch.randint(-1, 2, (2,)).tolist()
        return torch.roll(x.view(8, 8), (down, right), (0, 1)).flatten(), y


def augmentation(seed: int) -> Setup:
    """Every sample is shifted at random, in all epochs alike."""
    del seed
    train, held_out = digits()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(Shifted(train), held_out, 32))


def cnn_batchnorm(seed: int) -> Setup:
    """A convolutional network with BatchNorm."""
    del seed
    train, held_out = digits()
    model = DigitConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 32), epochs=8)


def lstm_text(seed: int) -> Setup:
    """An LSTM that predicts the next character of generated text, with clipping."""
    train, held_out = split(markov_text(960 + 256, 16, seed=seed), 256)
    model = NextCharacter(characters=12, hidden=24)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 16), clip=1.0, epochs=8)


def regression(seed: int) -> Setup:
    """Squared error under Adam."""
    train, held_out = split(tanh_targets(2560 + 256, 10, noise=0.3, seed=seed), 256)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return Setup(model, optimizer, nn.MSELoss(), *_loaders(train, held_out, 32))


def transformer(seed: int) -> Setup:
    """A small transformer encoder under AdamW and OneCycleLR."""
    train, held_out = split(markov_text(1280 + 256, 16, seed=seed), 256)
    model = TokenTransformer(characters=12, width=24)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = OneCycleLR(optimizer, max_lr=6e-3, total_steps=8 * 40)
    return Setup(
        model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 32), scheduler, per_batch=True, clip=1.0, epochs=8
    )


COMBINATIONS: dict[str, Callable[[int], Setup]] = {
    make.__name__: make
    for make in (
        noisy_small_batches,
        cosine_decay,
        plateau,
        step_decay,
        dropout,
        weighted_sampler,
        weighted_loss,
        warm_up,
        augmentation,
        cnn_batchnorm,
        lstm_text,
        regression,
        transformer,
    )
}
"""Each takes a seed and returns a training in which nothing is wrong."""
