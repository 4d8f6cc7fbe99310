"""The loss jumps up at every boundary: the file is sorted by class, and the shuffle reaches only a little way.

A buffer of 400 samples, as streaming loaders have, stirs 3,200 sorted samples only locally: an epoch still runs from
class 0 to class 7. At its end the model knows the last classes best and has half forgotten the first, and the next
epoch starts with those.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "sorted_data": Expect(kinds=("fault",), first=("incomplete_shuffle",), direction=1),
}


class ShuffleBuffer(Sampler[int]):
    """Yields indices in file order through a buffer, from which the next one is drawn at random."""

    def __init__(self, samples: int, buffer: int) -> None:
        self.samples, self.buffer = samples, buffer

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        waiting: list[int] = []
        for index in range(self.samples):
            waiting.append(index)
            if len(waiting) > self.buffer:
                yield waiting.pop(random.randrange(len(waiting)))
        random.shuffle(waiting)
        yield from waiting


def train(logdir: str, _run: str) -> None:
    random.seed(42)
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(100 * 32 + 512, 32, 8, sharpness=8.0), 512)
    x, y = data.tensors
    order = y.argsort(stable=True)
    by_class = TensorDataset(x[order], y[order])
    train_loader = DataLoader(by_class, batch_size=32, sampler=ShuffleBuffer(len(by_class), 400))
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
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
            model.eval()
            with torch.no_grad():
                val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", val_loss, epoch)
