"""The loss leaps at every epoch boundary and takes some batches to come back: Adam is built inside the epoch loop.

Each new Adam knows nothing of the size of the gradients. Its first steps are as long as the learning rate allows, in every
weight, and throw a linear model that had settled off its place.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import linear_targets, split
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "optimizer_rebuilt": Expect(
        kinds=("fault",),
        first=("optimizer_reset/replaced",),
        boundaries=tuple(range(9)),
        first_step=(100, 101),
        direction=1,
        strength="proved",
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(linear_targets(100 * 128 + 512, 80, noise=1.0), 512)
    train_loader = DataLoader(data, batch_size=128, shuffle=True)
    model = nn.Linear(80, 1)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, criterion=criterion)
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(10):
            optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            model.eval()
            with torch.no_grad():
                val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", val_loss, epoch)
