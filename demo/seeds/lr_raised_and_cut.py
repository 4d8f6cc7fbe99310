"""What does the loss do where the learning rate is raised, and where it is cut?

The article draws made-up losses that jump up after both.

What is true: only the raise makes it jump up. Ten times the LR shakes SGD out of the valley that it had settled in:
within a few batches the loss doubles, and it stays there. The cut back to a tenth does the opposite, the loss sinks at
once. Here the LR is set by hand at the start of epochs 4 and 8, as one does when a training looks stuck.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import linear_targets
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "lr_raised_and_cut": Expect(
        kinds=("fault", "planned"), first=("lr_increase/step",), also=("lr_decrease",), boundaries=(3,), first_step=(600, 602)
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    loader = DataLoader(linear_targets(19_200, 100, noise=1.0, scale=2.0), batch_size=128, shuffle=True)
    model = nn.Linear(100, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(loader)
        step = 0
        for epoch in range(12):
            if epoch == 4:
                optimizer.param_groups[0]["lr"] = 0.1
            if epoch == 8:
                optimizer.param_groups[0]["lr"] = 0.01
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
