"""The loss stops falling within the first epoch and stays there: ReduceLROnPlateau is stepped after each batch.

Its patience of ten was meant in epochs. Given the loss of single batches, ten of them in a row without a new best are no
plateau but noise: the LR is cut again and again while the loss was falling, and the rest of the training changes nothing.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "plateau_per_batch": Expect(kinds=("fault",), first=("plateau_scheduler/too_eager",), strength="likely"),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(64 * 80 + 512, 20, 5), 512)
    train_loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = ReduceLROnPlateau(optimizer, patience=10)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion)
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(10):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                scheduler.step(loss.item())
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            model.eval()
            with torch.no_grad():
                val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", val_loss, epoch)
