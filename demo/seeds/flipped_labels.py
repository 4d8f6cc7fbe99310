"""Do flipped labels make the epoch loss rise?

The article draws labels by a coin, flips a fifth of them, and explains by label noise why the loss stays high.

What is true of `flipped_coin_labels`: a flipped coin is a coin. No label can be called wrong where none is right, so
the only honest answer is to name no cause. In `flipped_labels` the labels follow from the inputs before a fifth of them
are flipped: the loss stops near the entropy of the flips (0.500 nats) instead of near 0, and that is all. The held-out
labels are right, so that the held-out loss lies below it, which shows that the training labels are not. But a floor is
not a jump: both runs pass their boundaries within noise.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from demo.data import coin_labels, split
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "flipped_coin_labels": Expect(kinds=("benign", "unknown"), first=("", "unknown")),
    "flipped_labels": Expect(kinds=("fault",), first=("label_noise/some",)),
}


def _flip(data: TensorDataset, rate: float) -> TensorDataset:
    x, y = data.tensors
    flipped = torch.rand(len(y)) < rate
    return TensorDataset(x, torch.where(flipped, 1 - y, y))


def train(logdir: str, run: str) -> None:
    torch.manual_seed(42)
    data = coin_labels(3240, 10)
    if run == "flipped_labels":
        x, _ = data.tensors
        data = TensorDataset(x, (x[:, :5].sum(dim=1) > 0).long())
    data, held_out = split(data, 840)
    loader = DataLoader(_flip(data, 0.2), batch_size=20, shuffle=True)
    model = nn.Linear(10, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=84), split="val")
        step = 0
        for epoch in range(10):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            model.eval()
            with torch.no_grad():
                held_out_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", held_out_loss, epoch)
