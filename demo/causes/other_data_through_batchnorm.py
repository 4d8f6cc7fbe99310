"""The held-out loss spikes after epoch 6 and is back at once: other data had passed through BatchNorm.

Somebody looks at what the network makes of raw, unscaled inputs, and forgets that it is in training mode. No weight changes and
no gradient is computed, but each of these passes moves the running statistics of BatchNorm, which the validation right after it
uses. The training does not use them, so that its loss shows nothing, and the next epoch puts them right again.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "other_data_through_batchnorm": Expect(
        kinds=("fault",),
        first=("batchnorm_drift/updated_outside",),
        also=("validation_spike",),
        first_step=(559, 560),
        may=("memorization",),
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(80 * 64 + 512, 20, 5, sharpness=5.0), 512)
    train_loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(
        nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        writer.set_probe()
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(12):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            if epoch == 6:
                with torch.no_grad():  # without `model.eval()`
                    for _ in range(20):
                        model(20 * torch.rand(64, 20))
            model.eval()
            with torch.no_grad():
                val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", val_loss, epoch)
