"""Does random augmentation make the loss jump at the start of an epoch?

The article multiplies every sample by a random factor from 0.5 to 1.5 and says that the jump becomes drastic, because
the new epoch brings new variance.

What is true of `random_scaling`: the factors come from the same range in every epoch, so the first batches of an epoch
are as hard as the last ones of the epoch before. The augmentation raises the level of the loss and its noise; nothing
happens at the boundary. In `random_scaling_widened` the range becomes 1.5 to 3.5 in epoch 6 (as progressive
augmentation does): the inputs change there and stay changed, and the loss rises with them.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from demo.data import linear_targets, split
from demo.expect import NOTHING_WRONG, Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "random_scaling": NOTHING_WRONG,
    # what to call the change cannot be told from means and spreads: another range, constant or data set look alike
    "random_scaling_widened": Expect(kinds=("fault",), first=("input_shift",), boundaries=(5,), may=("validation_spike",)),
}


class RandomlyScaled(Dataset[tuple[Tensor, Tensor]]):
    """Samples of `data` with the input multiplied by a factor drawn uniformly from `low` to `high`."""

    def __init__(self, data: TensorDataset, low: float, high: float) -> None:
        self.data, self.low, self.high = data, low, high

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.data[index]
        return x * random.uniform(self.low, self.high), y


def train(logdir: str, run: str) -> None:
    random.seed(42)
    torch.manual_seed(42)
    data, held_out = split(linear_targets(2240, 10, noise=0.3), 320)
    augmented = RandomlyScaled(data, 0.5, 1.5)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(DataLoader(augmented, batch_size=16, shuffle=True))
        val_loader = writer.wrap(DataLoader(held_out, batch_size=64), split="val")
        step = 0
        for epoch in range(12):
            if run == "random_scaling_widened" and epoch == 6:
                augmented.low, augmented.high = 1.5, 3.5
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            model.eval()
            with torch.no_grad():
                held_out_loss = sum(criterion(model(x), y).item() * len(y) for x, y in val_loader) / len(held_out)
            writer.add_scalar("Loss/val", held_out_loss, epoch)
