"""The loss jumps at batch 500 and is back at batch 520: what was in those batches?

The article adds 10 to made-up losses 500..519 and says that one should look at the data there.

What is true: while batches 500 to 519 were read, an amplifier was stuck at a gain of twenty, so every input of those
320 samples came twenty times too large. Before and after, and whenever they are read again, the same samples are fine:
the batches are to blame, not the samples, and both can be listed by number and id. The model is shaken by what it was
fed and recovers within some dozen batches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from demo.data import teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "bad_batches_500_to_520": Expect(kinds=("fault",), first=("bad_batch/inputs",), first_step=(500, 501)),
}

BATCH_SIZE = 16


class Amplified(Dataset[tuple[Tensor, Tensor]]):
    """Readings of an instrument whose amplifier sticks for a while, counted in samples read."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data
        self.samples_read = 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.data[index]
        stuck = 500 * BATCH_SIZE <= self.samples_read < 520 * BATCH_SIZE
        self.samples_read += 1
        return (x * 20 if stuck else x), y


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    loader = DataLoader(Amplified(teacher_labels(2400, 20, 5, sharpness=6.0)), batch_size=BATCH_SIZE, shuffle=True)
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
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
