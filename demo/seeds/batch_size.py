"""How does the batch size change the fluctuation of the loss at the start of an epoch?

The article trains a network with one hidden layer on batches of 32, 64 or 128 and says that larger ones give smoother
curves.

What is true: the loss of a batch is the mean of n sample losses, so its noise falls as 1/sqrt(n): four times the batch,
half the noise. What looks like a jump at a boundary is that noise, in all three runs; none of them needs a cure.
(Averaged over many repetitions the loss does drop at a boundary, by less than a tenth of that noise: the samples have
been seen before. Who calls that memorisation is right as well.)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {f"batch_size_{size}": Expect(kinds=("benign",), first=("", "memorization")) for size in (32, 64, 128)}


def train(logdir: str, run: str) -> None:
    torch.manual_seed(42)
    batch_size = int(run.rpartition("_")[2])
    data, held_out = split(teacher_labels(16_384 + 512, 64, 10), 512)
    loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion, config={"epochs": 8, "batch_size": batch_size})
        loader = writer.wrap(loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(8):
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
