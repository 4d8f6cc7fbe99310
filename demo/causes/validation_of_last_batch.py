"""The validation loss jumps about from epoch to epoch: it is that of the last batch, of 8 samples.

The loop over the validation ends, and `loss` is still the one of its last batch. That is what is written. The training is in
order; the mean over all 392 samples falls smoothly, and has its best value at another epoch.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "validation_of_last_batch": Expect(
        kinds=("artifact",), first=("validation_aggregation/last_batch",), may=("memorization",), strength="proved"
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(4096 + 392, 20, 5), 392)
    train_loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
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
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            model.eval()
            with torch.no_grad():
                for x, y in val_loader:
                    loss = criterion(model(x), y)
            writer.add_scalar("Loss/val", loss.item(), epoch)
