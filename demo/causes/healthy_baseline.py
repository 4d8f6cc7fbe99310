"""The same training as `cosine_restarts` with one scheduler for the whole run: nothing beyond noise at any boundary."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

from demo.data import mixed_units, split
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {"healthy_baseline": Expect(kinds=("benign",), first=("", "memorization"))}

EPOCHS = 12


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(mixed_units(160 * 80 + 960), 960)
    train_loader = DataLoader(data, batch_size=80, shuffle=True)
    model = nn.Linear(80, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = CosineAnnealingLR(optimizer, T_max=EPOCHS * len(train_loader), eta_min=0.002)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        config = {"epochs": EPOCHS, "batch_size": 80}
        writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion, config=config)
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(EPOCHS):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                scheduler.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            model.eval()
            with torch.no_grad():
                val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", val_loss, epoch)
            if epoch % 4 == 3:
                writer.note(f"checkpoint of epoch {epoch}", kind="save")
