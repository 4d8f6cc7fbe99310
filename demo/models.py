"""Small networks of the kinds that people train."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DigitConvNet(nn.Module):
    """Two convolutions with BatchNorm over 8 x 8 pixels, given as 64 numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        )  # fmt: skip
        self.classify = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x.view(-1, 1, 8, 8)).flatten(1))


class NextCharacter(nn.Module):
    """LSTM over characters; logits of the next one at each position, shape (batch, characters, length)."""

    def __init__(self, characters: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, hidden)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, characters)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.lstm(self.embed(x))[0]).transpose(1, 2)


class TokenTransformer(nn.Module):
    """One causal transformer layer over characters; logits as those of NextCharacter."""

    def __init__(self, characters: int, width: int, longest: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.position = nn.Parameter(0.02 * torch.randn(longest, width))
        self.layer = nn.TransformerEncoderLayer(width, nhead=2, dim_feedforward=2 * width, dropout=0.1, batch_first=True)
        self.readout = nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        hidden = self.layer(self.embed(x) + self.position[:length], src_mask=mask, is_causal=True)
        return self.readout(hidden).transpose(1, 2)
