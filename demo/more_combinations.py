"""Further trainings in which nothing is wrong, written after the rules of the diagnosis and never looked at for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, PolynomialLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset

from demo.combinations import Setup
from demo.data import digits, linear_targets, markov_text, split, tanh_targets, teacher_labels
from demo.models import DigitConvNet


def _loaders(train: TensorDataset, held_out: TensorDataset, batch_size: int, **how: Any) -> tuple[DataLoader, DataLoader]:
    return DataLoader(train, batch_size=batch_size, shuffle=True, **how), DataLoader(held_out, batch_size=100)


class _Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(12, 16)
        self.gru = nn.GRU(16, 40, batch_first=True)
        self.readout = nn.Linear(40, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.gru(self.embed(x))[0]).transpose(1, 2)


def gru_rmsprop(seed: int) -> Setup:
    """A GRU under RMSprop, its gradients clipped, the LR falling by a twentieth each epoch."""
    train, held_out = split(markov_text(1024 + 200, 14, seed=seed), 200)
    model = _Gru()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=2e-3)
    scheduler = ExponentialLR(optimizer, 0.95)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 16), scheduler, clip=0.5, epochs=8)


def autoencoder(seed: int) -> Setup:
    """Digits through a bottleneck of twelve numbers, squared error."""
    del seed
    train, held_out = (TensorDataset(part.tensors[0], part.tensors[0]) for part in digits())
    narrow = (nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 12), nn.ReLU())
    model = nn.Sequential(*narrow, nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 64))
    return Setup(model, torch.optim.Adam(model.parameters(), lr=2e-3), nn.MSELoss(), *_loaders(train, held_out, 24), epochs=12)


def many_labels(seed: int) -> Setup:
    """Eight yes-or-no labels a sample, binary cross-entropy, NAdam."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2400 + 300, 24, generator=generator)
    weight = torch.randn(24, 8, generator=generator)
    y = torch.bernoulli((x @ weight).sigmoid(), generator=generator)
    train, held_out = split(TensorDataset(x, y), 300)
    model = nn.Sequential(nn.Linear(24, 40), nn.SiLU(), nn.Linear(40, 8))
    return Setup(model, torch.optim.NAdam(model.parameters(), lr=1e-3), nn.BCEWithLogitsLoss(), *_loaders(train, held_out, 40))


def label_smoothing(seed: int) -> Setup:
    """Digits with a tenth of label smoothing, a warm-up and a cosine."""
    del seed
    train, held_out = digits()
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    scheduler = SequentialLR(
        optimizer, [LinearLR(optimizer, 0.1, total_iters=90), CosineAnnealingLR(optimizer, 360)], milestones=[90]
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    return Setup(model, optimizer, criterion, *_loaders(train, held_out, 32), scheduler, per_batch=True)


def huber_tiny_batches(seed: int) -> Setup:
    """Batches of eight, Huber loss, heavy noise, plain SGD."""
    train, held_out = split(linear_targets(1600 + 200, 12, noise=2.0, seed=seed), 200)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 1))
    return Setup(model, torch.optim.SGD(model.parameters(), lr=0.02), nn.HuberLoss(), *_loaders(train, held_out, 8), epochs=7)


def adagrad_poisson(seed: int) -> Setup:
    """Counts under a Poisson loss, Adagrad, the ragged last batch dropped."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3000, 10, generator=generator)
    rate = (0.4 * x @ torch.randn(10, 1, generator=generator) / 10**0.5 + 0.5).exp()
    train, held_out = split(TensorDataset(x, torch.poisson(rate, generator=generator)), 300)
    model = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 1))
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.02)
    return Setup(model, optimizer, nn.PoissonNLLLoss(), *_loaders(train, held_out, 36, drop_last=True))


def cnn_polynomial(seed: int) -> Setup:
    """The convolutional network under Nesterov momentum, the LR falling to nothing in a straight line."""
    del seed
    train, held_out = digits()
    model = DigitConvNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9, nesterov=True, weight_decay=5e-4)
    scheduler = PolynomialLR(optimizer, total_iters=8 * 45)
    return Setup(
        model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 32), scheduler, per_batch=True, epochs=8
    )


def frozen_first_layer(seed: int) -> Setup:
    """The first layer is a fixed random projection."""
    train, held_out = split(teacher_labels(2000 + 300, 16, 4, seed=seed), 300)
    model = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 4))
    model[0].requires_grad_(requires_grad=False)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    return Setup(model, optimizer, nn.CrossEntropyLoss(), *_loaders(train, held_out, 25))


def large_batches(seed: int) -> Setup:
    """Twelve batches of 256 an epoch, an absolute error, many epochs."""
    train, held_out = split(tanh_targets(12 * 256 + 400, 8, noise=0.2, seed=seed), 400)
    model = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))
    return Setup(model, torch.optim.Adam(model.parameters(), lr=2e-3), nn.L1Loss(), *_loaders(train, held_out, 256), epochs=25)


class _Bag(nn.Module):
    """Mean of embeddings, two groups of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.EmbeddingBag(12, 24)
        self.classify = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.embed(x))


def bag_of_characters(seed: int) -> Setup:
    """Is the first character one of the first six? Embeddings and the rest with an LR of their own."""
    text, _ = markov_text(2000 + 300, 20, seed=seed).tensors
    train, held_out = split(TensorDataset(text, (text[:, 0] < 6).long()), 300)
    model = _Bag()
    groups = [{"params": model.embed.parameters(), "lr": 5e-3}, {"params": model.classify.parameters(), "lr": 1e-3}]
    return Setup(model, torch.optim.Adam(groups), nn.CrossEntropyLoss(), *_loaders(train, held_out, 50), epochs=12)


MORE: dict[str, Callable[[int], Setup]] = {
    make.__name__: make
    for make in (
        gru_rmsprop,
        autoencoder,
        many_labels,
        label_smoothing,
        huber_tiny_batches,
        adagrad_poisson,
        cnn_polynomial,
        frozen_first_layer,
        large_batches,
        bag_of_characters,
    )
}
"""Each takes a seed and returns a training in which nothing is wrong."""
