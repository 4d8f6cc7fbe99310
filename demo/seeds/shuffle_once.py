"""Is it enough to shuffle the data set once and then to train with shuffle=False?

The article recommends it: shuffle the indices, make a Subset, and pass shuffle=False "since we already shuffled".

What is true: the advice is itself the fault. Each epoch brings the same samples in the same batches in the same order,
so every epoch's gradient noise repeats instead of averaging out, and the same easy and hard batches meet at every
boundary: the difference between the last and the first of them comes back each epoch with the same sign, which looks
like a jump.
"""

from __future__ import annotations

import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "shuffle_once": Expect(
        kinds=("fault",), first=("repeated_order",), boundaries=tuple(range(9)), strength="proved", may=("memorization",)
    ),
}


def custom_shuffle(dataset: Dataset) -> Subset:
    indices = list(range(len(dataset)))
    random.shuffle(indices)
    return Subset(dataset, indices)


def train(logdir: str, _run: str) -> None:
    random.seed(42)
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(3200 + 512, 20, 5), 512)
    train_dataset = custom_shuffle(data)
    train_loader = DataLoader(train_dataset, batch_size=32, shuffle=False)  # shuffle=False since we already shuffled
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
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
