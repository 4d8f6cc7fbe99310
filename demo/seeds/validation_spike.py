"""Does a sudden rise of the validation loss that goes away again mean that something is wrong?

The article trains with a high LR under ReduceLROnPlateau on the validation loss and names four possible reasons for a
spike.

What is true here: SGD with momentum at 0.1 is too hot for this network. Now and then it overshoots, training and
validation loss go up together for an epoch or two and come back by themselves. The scheduler sees epochs without a new
best, halves the LR once its patience is spent, and both losses fall and stay calm. The cut follows the rise; it is the
answer to the spike and not its cause. The data, their order and the mode are in order throughout.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from demo.data import digits
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "validation_spike": Expect(
        kinds=("benign", "unknown"), first=("", "unknown", "lr_decrease", "memorization"), may=("partial_last_batch",)
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(3)
    train_dataset, val_dataset = digits()
    train_loader = DataLoader(train_dataset, batch_size=32, shuffle=True)
    val_loader = DataLoader(val_dataset, batch_size=32)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = ReduceLROnPlateau(optimizer, "min", patience=2, factor=0.5)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion)
        train_loader = writer.wrap(train_loader)
        val_loader = writer.wrap(val_loader, split="val")
        step = 0
        for epoch in range(20):
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
                val_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(val_dataset)
            writer.add_scalar("Loss/val", val_loss, epoch)
            scheduler.step(val_loss)
