"""Does ReduceLROnPlateau on the epoch's training loss smooth the jumps at epoch starts?

The article steps the scheduler with the mean training loss of the epoch and hopes for a smoother curve.

What is true: plain SGD at 0.1 soon bounces at twice the floor of the loss, so the epoch means stop falling. The
scheduler waits out its patience of two and cuts the LR to a tenth, and the loss sinks right after that boundary: a
benign step down. The noise from batch to batch, relative to the level, stays what it was.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from demo.data import linear_targets
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {"plateau_on_epoch_loss": Expect(kinds=("benign",), first=("lr_decrease",))}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    loader = DataLoader(linear_targets(32_000, 100, noise=1.0, scale=2.0), batch_size=128, shuffle=True)
    model = nn.Linear(100, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, "min", patience=2, factor=0.1)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion)
        loader = writer.wrap(loader)
        step = 0
        for epoch in range(12):
            running_loss = 0.0
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                running_loss += loss.item()
                step += 1
            scheduler.step(running_loss / len(loader))
            writer.add_scalar("Loss/epoch", running_loss / len(loader), epoch)
