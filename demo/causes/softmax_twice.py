"""The loss stays far above 0 while nearly all answers are right: the model ends with a softmax, the criterion takes another.

`CrossEntropyLoss` takes logits. Given the probabilities of eight classes, it cannot go below ln(1 + 7 / e) = 1.27.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "softmax_twice": Expect(
        kinds=("fault",),
        first=("loss_misuse/softmax_before_cross_entropy",),
        first_step=(0, 1),
        strength="proved",
        may=("memorization",),
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(60 * 64 + 512, 32, 8, sharpness=20.0), 512)
    train_loader = DataLoader(data, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 8), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
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
                val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", val_loss, epoch)
