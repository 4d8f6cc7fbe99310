"""The loss drops at each boundary and climbs within each epoch: a saw that looks broken, and is not.

A wide network with a high learning rate learns 800 samples of which half have random labels. Each update fits the samples of
its batch, and those after it undo a part of that, so a sample's loss grows until it comes again. With a new order in each
epoch the first batches hold samples that were seen half an epoch ago, the last ones those of an epoch and a half ago. In the
twin the samples are drawn with replacement: the same forgetting, but no batch of an epoch is special, and no saw.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "sawtooth": Expect(
        kinds=("benign",),
        first=("epochal_sawtooth",),
        may=("overfitting", "insufficient_data", "label_noise"),
        boundaries=tuple(range(2, 13)),
        direction=-1,
        strength="likely",
    ),
    "sawtooth_with_replacement": Expect(
        kinds=("benign",), first=("", "overfitting", "label_noise"), may=("insufficient_data",), direction=0
    ),
}


def train(logdir: str, run: str) -> None:
    torch.manual_seed(42)
    data, held_out = split(teacher_labels(800 + 512, 20, 6, sharpness=6.0), 512)
    x, y = data.tensors
    y = torch.where(torch.rand(len(y)) < 0.5, torch.randint(0, 6, (len(y),)), y)
    data = TensorDataset(x, y)
    sampler = RandomSampler(data, replacement=run == "sawtooth_with_replacement")
    model = nn.Sequential(nn.Linear(20, 512), nn.ReLU(), nn.Linear(512, 6))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.15, momentum=0.9)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        train_loader = writer.wrap(DataLoader(data, batch_size=32, sampler=sampler))
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(14):
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
