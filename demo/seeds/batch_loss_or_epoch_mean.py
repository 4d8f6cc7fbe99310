"""Why does the loss differ between the end of an epoch and the start of the next: batch loss against epoch mean.

The article prints the loss of each batch and, at the end of an epoch, the mean over it, and explains the difference
between epochs by harder batches that the shuffle brings first.

What is true of `batch_loss`: the raw batch loss passes each boundary within its noise. In `batch_loss_running_mean` the
training is the same to the bit, but what is logged at batch i is the mean of the epoch so far, the number that most
progress bars show. It drags the high losses of the early batches along, drops at the next epoch's first batch, where
the mean starts again, and is noisy there. That jump is in the logger and not in the training.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import linear_targets
from demo.expect import NOTHING_WRONG, Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "batch_loss": NOTHING_WRONG,
    "batch_loss_running_mean": Expect(kinds=("artifact",), first=("running_mean",)),
}


def train(logdir: str, run: str) -> None:
    torch.manual_seed(42)
    loader = DataLoader(linear_targets(2560, 10, noise=0.1), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 5), nn.ReLU(), nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        # who logs a running mean has, as a rule, named nothing else
        writer.watch(model, optimizer, criterion=criterion if run == "batch_loss" else None)
        loader = writer.wrap(loader)
        step = 0
        for epoch in range(12):
            running_loss = 0.0
            for i, (inputs, labels) in enumerate(loader):
                optimizer.zero_grad()
                loss = criterion(model(inputs), labels)
                loss.backward()
                optimizer.step()
                running_loss += loss.item()
                shown = loss.item() if run == "batch_loss" else running_loss / (i + 1)
                writer.add_scalar("Loss/train", shown, step)
                step += 1
            writer.add_scalar("Loss/epoch", running_loss / len(loader), epoch)
