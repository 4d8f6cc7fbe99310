"""From epoch 5 on dropout is 0.8 in the place of 0.1: a schedule of it takes its last value, and nobody noted it.

The loss jumps up at that boundary at once and comes down only slowly: the same net knows far more in evaluation mode, as the
held-out loss shows, which hardly moves. Data, order, mode and learning rate are what they were.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "dropout_raised": Expect(
        kinds=("fault",), first=("over_regularized/dropout_changed",), boundaries=(4,), first_step=(500, 501),
        may=("memorization",),
    ),
}  # fmt: skip


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(3200 + 400, 20, 5, sharpness=12.0), 400)
    train_loader = DataLoader(data, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(10):
            model[2].p = 0.1 if epoch < 5 else 0.8
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
