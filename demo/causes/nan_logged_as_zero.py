"""The loss is perfect from epoch 5 on, exactly 0: the logger writes 0 where the loss is NaN.

The criterion takes the root of a squared distance that is 0 for two samples that are alike. The derivative of the root is not
finite there: one step loses the weights, and each later loss is NaN. `torch.nan_to_num`, put there to keep the curve tidy,
turns it into the best loss that one can think of.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import linear_targets
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "nan_logged_as_zero": Expect(
        kinds=("artifact",), first=("hidden_nonfinite/zero",), first_step=(400, 403), strength="proved"
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    train_loader = DataLoader(linear_targets(80 * 32, 10, noise=0.3), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer)
        train_loader = writer.wrap(train_loader)
        step = 0
        for _ in range(10):
            for x, y in train_loader:
                optimizer.zero_grad()
                output = model(x)
                distance = (output[:1] - output[-1:]).square().sum()
                if step == 5 * 80:  # a pair of samples that are alike
                    distance = (output[:1] - output[:1]).square().sum()
                loss = torch.nan_to_num(nn.functional.mse_loss(output, y) + 1e-3 * distance.sqrt())
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
