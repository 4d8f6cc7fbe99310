"""The four trainings that the cost of recording is measured in: real models, optimisers and loaders, made input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """Samples that a loader takes a batch at a time, so that the loader is not what is measured.

    Args:
        inputs: shape (n, ...).
        targets: shape (n, ...).
    """

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self._inputs, self._targets = inputs, targets

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """One batch."""
        return self._inputs[indices], self._targets[indices]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._inputs[index], self._targets[index]


@dataclass
class Training:
    """A model with everything that trains it.

    Attributes:
        name: as it is printed.
        model: the module that the loop calls.
        optimizer: of all its parameters.
        criterion: of its output, flattened to (samples, classes), and the targets.
        loader: shuffled.
        device: where the model is.
    """

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    criterion: nn.Module
    loader: DataLoader[tuple[Tensor, Tensor]]
    device: torch.device

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One step of an ordinary loop; gives the loss."""
        inputs, targets = inputs.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True)
        output = self.model(inputs)
        loss: Tensor = self.criterion(output.flatten(0, -2), targets.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut, as in ResNet-18 (He et al. 2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside))
        self.second = nn.Sequential(nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, inputs: Tensor) -> Tensor:
        """Images to features."""
        return torch.relu(self.second(torch.relu(self.first(inputs))) + self.shortcut(inputs))


def resnet18(classes: int) -> nn.Module:
    """ResNet-18 with its stem for large images, 11 million parameters."""
    widths = (64, 64, 128, 256, 512)
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    blocks = [
        Block(widths[i] if not j else widths[i + 1], widths[i + 1], 2 if i and not j else 1) for i in range(4) for j in range(2)
    ]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class Transformer(nn.Module):
    """A causal language model: embedding, encoder layers under a causal mask, a linear head."""

    def __init__(self, tokens: int, width: int, layers: int, length: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.place = nn.Parameter(torch.zeros(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, tokens: Tensor) -> Tensor:
        """Token numbers (batch, length) to logits (batch, length, tokens)."""
        out: Tensor = self.head(self.body(self.embed(tokens) + self.place, mask=self.mask, is_causal=True))
        return out


def _training(name: str, model: nn.Module, rows: Rows, batch: int, device: torch.device, *, adam: bool) -> Training:
    model = model.to(device)
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(model.parameters(), 1e-3) if adam else torch.optim.SGD(model.parameters(), 1e-2, momentum=0.9)
    )
    loader: DataLoader[Any] = DataLoader(rows, batch_size=batch, shuffle=True, collate_fn=_as_it_is)
    return Training(name, model, optimizer, nn.CrossEntropyLoss(), loader, device)


def _as_it_is(batch: Any) -> Any:
    return batch


def mlp(device: torch.device) -> Training:
    """About a quarter of a millisecond a step on one core."""
    rows = Rows(torch.randn(16_384, 64), torch.randint(0, 10, (16_384,)))
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return _training("MLP", model, rows, 64, device, adam=False)


def cnn(device: torch.device) -> Training:
    """Convolutions with BatchNorm and dropout on images of 32 x 32."""
    rows = Rows(torch.randn(3840, 3, 32, 32), torch.randint(0, 10, (3840,)))
    layers: list[nn.Module] = []
    for inside, outside in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(1024, 10))
    return _training("CNN", model, rows, 64, device, adam=True)


def transformer(device: torch.device) -> Training:
    """Four layers of width 256 on sequences of 128 tokens."""
    text = torch.randint(0, 512, (360, 129))
    return _training("transformer", Transformer(512, 256, 4, 128), Rows(text[:, :-1], text[:, 1:]), 6, device, adam=True)


def resnet(device: torch.device) -> Training:
    """ResNet-18 on images of 64 x 64."""
    rows = Rows(torch.randn(1440, 3, 64, 64), torch.randint(0, 10, (1440,)))
    return _training("ResNet-18", resnet18(10), rows, 24, device, adam=False)


TRAININGS: tuple[Callable[[torch.device], Training], ...] = (mlp, cnn, transformer, resnet)
