"""Why is the starting loss of an epoch different under StepLR, although the data are shuffled?

The article steps StepLR(gamma=0.1) once an epoch and says that the loss jumps *up* at each start, less and less. (Its
comment says "reduce lr by 10%"; gamma=0.1 reduces it *to* 10 %.)

What is true: with LR 0.1 plain SGD bounces at twice the floor that the noise in the targets sets. A cut lets it sink
within a few dozen batches, so the loss goes *down* where the LR was cut, and does nothing at the boundaries in between.
Here the cut comes after four epochs, so that the boundaries without one can bear witness.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from demo.data import linear_targets
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "step_lr": Expect(kinds=("benign",), first=("lr_decrease",), boundaries=(3,)),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    loader = DataLoader(linear_targets(38_400, 100, noise=1.0, scale=2.0), batch_size=128, shuffle=True)
    model = nn.Linear(100, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = StepLR(optimizer, step_size=4, gamma=0.1)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion)
        loader = writer.wrap(loader)
        step = 0
        for _ in range(8):
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            scheduler.step()
