"""Data sets, networks, optimisers and schedules that are small enough to train in a second."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn


@lru_cache(maxsize=16)
def dataset(name: str, samples: int = 1600, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and targets for training, then 400 held-out ones; targets are classes, floats for "regression" and "plane"."""
    rng = np.random.default_rng(seed)
    total = samples + 400
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        keep = rng.permutation(len(x))
        total = min(total, len(x))
        x, y = x[keep[:total]] / 16.0, y[keep[:total]]
        samples = total - 300
    elif name == "gaussian":  # ten overlapping clouds: cannot be learned to zero
        centres = rng.normal(size=(10, 20))
        y = rng.integers(0, 10, total)
        x = centres[y] + rng.normal(size=(total, 20)) * 1.6
    elif name == "wide":  # few samples, many inputs, a quarter of the labels random: a net learns it by heart
        y = rng.integers(0, 10, total)
        x = rng.normal(size=(10, 100))[y] * 0.35 + rng.normal(size=(total, 100))
        y = np.where(rng.random(total) < 0.25, rng.integers(0, 10, total), y)
    elif name == "regression":
        x = rng.normal(size=(total, 10))
        y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3] + 0.3 * rng.normal(size=total)
    elif name == "plane":  # a linear target in 60 inputs with noise: the loss floor rises with the LR
        x = rng.normal(size=(total, 60))
        y = x @ rng.normal(size=60) * 0.3 + rng.normal(size=total)
    elif name == "tokens":  # predict the next of 20 tokens from the six before it
        table = rng.dirichlet(np.full(20, 0.3), size=20)
        stream = np.zeros(total + 6, dtype=np.int64)
        for t in range(1, len(stream)):
            stream[t] = rng.choice(20, p=table[stream[t - 1]])
        x = np.stack([stream[t : t + 6] for t in range(total)])
        y = stream[6:]
    else:
        raise ValueError(f"unknown data set {name!r}")
    inputs = torch.tensor(x, dtype=torch.long if name == "tokens" else torch.float32)
    targets = torch.tensor(y, dtype=torch.float32 if name in ("regression", "plane") else torch.long)
    return inputs[:samples], targets[:samples], inputs[samples:], targets[samples:]


class _Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.lstm = nn.LSTM(16, 32, batch_first=True)
        self.head = nn.Linear(32, 20)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.lstm(self.embed(x))[0][:, -1])
        return out


def build_model(name: str, inputs: Tensor, targets: Tensor) -> nn.Module:
    """A small network: "linear", "mlp", "deep", "batchnorm", "dropout", "cnn" (digits only) or "lstm" (tokens only)."""
    width = inputs.shape[1]
    out = int(targets.max()) + 1 if targets.dtype == torch.long else 1
    if name == "linear":
        return nn.Linear(width, out)
    if name == "mlp":
        return nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, out))
    if name == "deep":
        return nn.Sequential(
            nn.Linear(width, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, 128),
            nn.ReLU(),
            nn.Linear(128, out),
        )
    if name == "batchnorm":
        return nn.Sequential(nn.Linear(width, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, out))
    if name == "dropout":
        return nn.Sequential(nn.Linear(width, 96), nn.ReLU(), nn.Dropout(0.5), nn.Linear(96, out))
    if name == "cnn":
        return nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, out),
        )  # fmt: skip
    if name == "lstm":
        return _Lstm()
    raise ValueError(f"unknown model {name!r}")


def build_optimizer(name: str, model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """An optimiser by name: "sgd", "momentum", "adam", "adamw" or "rmsprop"."""
    parameters = model.parameters()
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr)
    if name == "momentum":
        return torch.optim.SGD(parameters, lr=lr, momentum=0.9)
    if name == "adam":
        return torch.optim.Adam(parameters, lr=lr)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr)
    raise ValueError(f"unknown optimiser {name!r}")


def schedule_factor(name: str, step: int, total: int, per_epoch: int) -> float:
    """LR multiplier of a healthy schedule: "constant", "cosine", "linear", "warmup" or "step" (x 0.3 at 60 % and 85 %)."""
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / total))
    if name == "linear":
        return 1 - step / total
    if name == "warmup":
        return min(1.0, (step + 1) / per_epoch)
    if name == "step":
        epochs, epoch = total // per_epoch, step // per_epoch
        return 0.3 ** sum(epoch >= math.ceil(part * epochs) for part in (0.6, 0.85))
    return 1.0
