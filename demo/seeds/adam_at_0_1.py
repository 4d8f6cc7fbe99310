"""Is the epoch loss rising: Adam with a learning rate of 0.1?

The article trains a linear classifier on coin-flip labels with Adam at 0.1 and promises an early fall, then a loss that
"quickly jumps upwards".

What is true: nothing can be learnt, so the best possible loss is ln 2 = 0.693. Adam's first steps are of size 0.1
whatever the gradient: the loss leaves ln 2 at once, hovers a few percent above it, and never diverges, since a linear
model has no curvature that could throw it out. The level is too high from the first epoch to the last; at the
boundaries nothing happens.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import coin_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {"adam_at_0_1": Expect(kinds=("benign", "unknown"), first=("", "unknown"))}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    loader = DataLoader(coin_labels(2000, 10), batch_size=20, shuffle=True)
    model = nn.Linear(10, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(loader)
        step = 0
        for epoch in range(10):
            total_loss = 0.0
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                total_loss += loss.item()
                step += 1
            writer.add_scalar("Loss/epoch", total_loss / len(loader), epoch)
