"""Small data sets with known properties, always the same for a seed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import TensorDataset


def noise_targets(samples: int, features: int, *, seed: int = 42) -> TensorDataset:
    """Gaussian inputs with Gaussian targets that have nothing to do with them: nothing can be learnt."""
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(samples, features, generator=generator), torch.randn(samples, 1, generator=generator))


def linear_targets(samples: int, features: int, *, noise: float, scale: float = 1.0, seed: int = 42) -> TensorDataset:
    """Gaussian inputs of standard deviation `scale`, and linear targets of variance 1 plus that of `noise`."""
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(samples, features, generator=generator)
    weight = torch.randn(features, 1, generator=generator) / (scale * features**0.5)
    return TensorDataset(x, x @ weight + noise * torch.randn(samples, 1, generator=generator))


def coin_labels(samples: int, features: int, *, seed: int = 42) -> TensorDataset:
    """Gaussian inputs with labels 0 and 1 drawn by a coin."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, features, generator=generator)
    return TensorDataset(x, torch.randint(0, 2, (samples,), generator=generator))


def teacher_labels(samples: int, features: int, classes: int, *, sharpness: float = 3.0, seed: int = 42) -> TensorDataset:
    """Labels drawn from the softmax of a fixed random two-layer network: learnable, with a floor above 0.

    A larger `sharpness` makes the labels more certain and the floor lower.
    """
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(features, 32, generator=generator) / features**0.5
    readout = torch.randn(32, classes, generator=generator) / 32**0.5
    x = torch.randn(samples, features, generator=generator)
    logits = sharpness * torch.tanh(2 * x @ hidden) @ readout
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    return TensorDataset(x, labels)


def digits() -> tuple[TensorDataset, TensorDataset]:
    """1,437 and 360 handwritten digits of 8 x 8 pixels in 0..1 (scikit-learn's bundled set), for training and validation."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    x = torch.tensor(bundle.data, dtype=torch.float32) / 16
    y = torch.tensor(bundle.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, held_out = order[360:], order[:360]
    return TensorDataset(x[train], y[train]), TensorDataset(x[held_out], y[held_out])


def split(data: TensorDataset, held_out: int) -> tuple[TensorDataset, TensorDataset]:
    """The first samples for training, the last `held_out` for validation."""
    tensors: tuple[Tensor, ...] = data.tensors
    return TensorDataset(*(t[:-held_out] for t in tensors)), TensorDataset(*(t[-held_out:] for t in tensors))


def tanh_targets(samples: int, features: int, *, noise: float, seed: int = 42) -> TensorDataset:
    """Gaussian inputs with targets from a fixed random two-layer tanh network, of variance about 1, plus noise."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(features, 16, generator=generator) / features**0.5
    readout = torch.randn(16, 1, generator=generator) * 0.375
    x = torch.randn(samples, features, generator=generator)
    return TensorDataset(x, torch.tanh(2 * x @ hidden) @ readout + noise * torch.randn(samples, 1, generator=generator))


def mixed_units(samples: int, *, noise: float = 0.6, seed: int = 42) -> TensorDataset:
    """Linear targets of variance 1.5 plus noise, from 60 inputs of standard deviation 2.1 and 20 of 0.13.

    As in a table whose columns are in different units: SGD bounces along the large columns and creeps along the small ones.
    """
    generator = torch.Generator().manual_seed(seed)
    unit = torch.cat([torch.full((60,), 2.1), torch.full((20,), 0.13)])
    share = torch.cat([torch.full((60,), 0.5 / 60), torch.full((20,), 1.0 / 20)])
    weight = torch.randn(80, 1, generator=generator) * (share.sqrt() / unit).unsqueeze(1)
    x = unit * torch.randn(samples, 80, generator=generator)
    return TensorDataset(x, x @ weight + noise * torch.randn(samples, 1, generator=generator))


def markov_text(samples: int, length: int, *, characters: int = 12, seed: int = 42) -> TensorDataset:
    """Pieces of text from a fixed random Markov chain: inputs and the same shifted by one, int64 of shape (samples, length)."""
    generator = torch.Generator().manual_seed(seed)
    transition = (2 * torch.randn(characters, characters, generator=generator)).softmax(dim=1)
    text = torch.empty(samples, length + 1, dtype=torch.int64)
    text[:, 0] = torch.randint(0, characters, (samples,), generator=generator)
    for position in range(length):
        text[:, position + 1] = torch.multinomial(transition[text[:, position]], 1, generator=generator).squeeze(1)
    return TensorDataset(text[:, :-1], text[:, 1:])
