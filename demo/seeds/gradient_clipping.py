"""Does gradient clipping prevent upward jumps of the loss?

The article shows the call to clip_grad_norm_ and says that it helps to see whether unstable gradients play a role.

What is true: they do here. A recurrent ReLU network that starts as the identity learns to add two marked numbers out of
twenty. Its first gradients are a hundred times as long as later ones. In `clipping_off` the first few steps throw the
weights far away: the loss jumps by orders of magnitude, and the network ends as a constant (0.167, the variance of the
sum) that it hardly ever leaves again. In `clipping_on` the same steps are cut to norm 1; the network is shaken now and
then, and learns. Neither has anything to do with an epoch boundary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "clipping_off": Expect(
        kinds=("fault",), first=("lr_too_high/from_start", "exploding_gradients/from_start"), first_step=(0, 3)
    ),
    "clipping_on": Expect(kinds=("benign", "unknown"), first=("", "unknown")),
}


class Adder(nn.Module):
    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.rnn = nn.RNN(2, hidden, batch_first=True, nonlinearity="relu")
        self.readout = nn.Linear(hidden, 1)
        with torch.no_grad():
            self.rnn.weight_hh_l0.copy_(torch.eye(hidden))
            self.rnn.weight_ih_l0.normal_(0, 0.1)
            self.rnn.bias_hh_l0.zero_()
            self.rnn.bias_ih_l0.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.rnn(x)[0][:, -1])


def two_marked_numbers(samples: int, length: int) -> TensorDataset:
    """Sequences of numbers in 0..1, two of them marked; the target is the sum of those two."""
    rows = torch.arange(samples)
    numbers, marks = torch.rand(samples, length), torch.zeros(samples, length)
    marks[rows, torch.randint(0, length // 2, (samples,))] = 1
    marks[rows, torch.randint(length // 2, length, (samples,))] = 1
    return TensorDataset(torch.stack([numbers, marks], dim=2), (numbers * marks).sum(dim=1, keepdim=True))


def train(logdir: str, run: str) -> None:
    torch.manual_seed(42)
    loader = DataLoader(two_marked_numbers(3200, 20), batch_size=32, shuffle=True)
    model = Adder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = nn.MSELoss()
    clip_value = 1.0

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(loader)
        step = 0
        for _ in range(12):
            for x, y in loader:
                loss = criterion(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                if run == "clipping_on":
                    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_value)
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
