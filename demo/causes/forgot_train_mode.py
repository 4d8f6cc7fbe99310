"""The loss drops at one boundary, right after a validation: `model.train()` is called once, before the loop.

The model is validated every fourth epoch. The first validation switches it to eval and nobody switches it back: from
epoch 4 on dropout is off while training, so the training loss falls at that boundary at once, and the regularisation
that was asked for no longer happens.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "forgot_train_mode": Expect(
        kinds=("fault",),
        first=("wrong_mode/training_in_eval",),
        boundaries=(3,),
        first_step=(400, 401),
        strength="proved",
        may=("memorization",),
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(100 * 128 + 512, 32, 8, sharpness=20.0), 512)
    train_loader = DataLoader(data, batch_size=128, shuffle=True)
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        model.train()
        for epoch in range(12):
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            if epoch % 4 == 3:
                model.eval()
                with torch.no_grad():
                    val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
                writer.add_scalar("Loss/val", val_loss, epoch)
