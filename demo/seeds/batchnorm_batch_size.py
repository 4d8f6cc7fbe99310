"""Does a small batch make BatchNorm unstable, and does a large one cure it?

The article advises a larger batch where the validation loss spikes in a network with BatchNorm.

What is true: with four samples a batch the batch statistics are very noisy. In training, where they are used, they
raise the loss; the running statistics, which validation uses, average over many batches and stay usable. So the
training loss lies above the validation loss with batches of 4 (`batchnorm_batch_4`) and below it with 128
(`batchnorm_batch_128`, which can afford to learn the samples by heart a little). Nothing of it is tied to an epoch
boundary, but for that faint memorisation. The curve of the run with batches of 4 is rough by the noise of so few samples.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "batchnorm_batch_4": Expect(
        kinds=("benign", "unknown"), first=("memorization", "unknown", "small_batch_noise"), also=("small_batch_noise",)
    ),
    "batchnorm_batch_128": Expect(kinds=("benign", "unknown"), first=("", "memorization", "unknown")),
}


def train(logdir: str, run: str) -> None:
    torch.manual_seed(42)
    batch_size = int(run.rpartition("_")[2])
    data, held_out = split(teacher_labels(5120 + 512, 20, 5, sharpness=5.0), 512)
    train_loader = DataLoader(data, batch_size=batch_size, shuffle=True)
    model = nn.Sequential(
        nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02 if batch_size == 4 else 0.1)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=128), split="val")
        step = 0
        for epoch in range(4 if batch_size == 4 else 12):
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
