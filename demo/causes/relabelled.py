"""The loss jumps at one boundary and climbs down again: from there on the labels are numbered another way.

The class map is built from a listing of folders that somebody sorted anew while the run went on: from the seventh epoch on
what was class 0 is class 1, and so on. The inputs, the optimiser and the order of samples are as ever. Each sample proves it:
it came back with one label in six epochs and has another one in the next.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from demo.data import split, teacher_labels
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "relabelled": Expect(
        kinds=("fault",),
        first=("target_shift/lasting",),
        boundaries=(5,),
        first_step=(600, 601),
        strength="proved",
        may=("memorization",),
    ),
}


class Listed(Dataset[tuple[Tensor, Tensor]]):
    """Samples whose class is the place of their folder in a list; `shift` turns that list."""

    def __init__(self, data: TensorDataset) -> None:
        self.data, self.shift = data, 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.data[index]
        return x, (y + self.shift) % 8


def train(logdir: str, _run: str) -> None:
    torch.manual_seed(42)
    data, _ = split(teacher_labels(100 * 32 + 512, 32, 8, sharpness=8.0), 512)
    listed = Listed(data)
    train_loader = DataLoader(listed, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        train_loader = writer.wrap(train_loader)
        step = 0
        for epoch in range(12):
            listed.shift = 0 if epoch < 6 else 1
            for x, y in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
