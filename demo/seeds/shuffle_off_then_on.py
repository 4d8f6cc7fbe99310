"""Does switching the shuffle on make the loss jump?

The article trains a linear model on random targets, first in file order, then shuffled, and compares the means of whole
passes. Such means cannot show a boundary: a later pass starts from other weights, and that alone makes them differ.

What is true: the file is in random order already, so its first batches are as hard as its last ones, and the batch loss
passes the switch without a jump beyond noise. What does hold is plain equality: in the six passes without shuffling the
order of samples is the same each time, so the same curve of easy and hard batches comes back six times, with the same
small difference at each boundary. Those are one observation and not five. The fixed order costs generalisation and is
worth fixing, yet it moves nothing at the boundary.

(Averaged over 30 repetitions the shuffled epochs do begin 0.045 lower than the last ended, a tenth of the noise of one
batch: samples of the last few batches may come again at once, while at the end of an epoch every sample is one that was
not seen for long. Who calls that memorisation is right.)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

from demo.data import noise_targets
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "shuffle_off_then_on": Expect(
        kinds=("fault",),
        first=("repeated_order",),
        boundaries=(0, 1, 2, 3, 4),
        strength="proved",
        direction=0,
        may=("memorization",),
    ),
}


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data = noise_targets(1200, 10)
    in_order = DataLoader(data, batch_size=10, shuffle=False)
    shuffled = DataLoader(data, batch_size=10, shuffle=True)
    model = nn.Linear(10, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    criterion = nn.MSELoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        in_order, shuffled = writer.wrap(in_order), writer.wrap(shuffled)
        step = 0
        for epoch in range(12):
            epoch_loss = 0.0
            loader = in_order if epoch < 6 else shuffled
            for x, y in loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                epoch_loss += loss.item()
                step += 1
            writer.add_scalar("Loss/epoch", epoch_loss / len(loader), epoch)
