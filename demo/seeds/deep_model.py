"""Do exploding gradients make the loss of a deeper model rise?

The article trains 10-50-100-2 with Adam on coin-flip labels and says that "depending on random weight initialization"
the loss might go up as the gradients explode.

What is true of `deep_model`: it does not explode. Three layers with the usual initialisation have gradients of order 1,
and Adam divides by them anyway. What the run does show is memorisation in its purest form: coin flips can only be
learnt by heart, so the loss stays at ln 2 = 0.693 in the first pass and drops at each boundary, when samples come back
that the model has met before. The held-out loss rises meanwhile: the inputs tell nothing of the labels,
which is said beside it.

`deep_model_exploding` is the deeper and unguarded cousin: six layers, squared error, plain SGD, an LR that is warmed up
to 0.3 batch by batch, no clipping. Somewhere on the way up each step overshoots more than the last; gradients and loss
grow by orders of magnitude within a few batches until they are no longer finite. The data are the same good data
before, there and after.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from demo.data import coin_labels, split, tanh_targets
from demo.expect import Expect
from tb_losslens import LossLensWriter

EXPECT = {
    "deep_model": Expect(kinds=("benign",), first=("memorization",), also=("label_noise",), direction=-1),
    "deep_model_exploding": Expect(
        kinds=("fault",), first=("lr_too_high/mid_run", "exploding_gradients"), first_step=(430, 447)
    ),
}


class DeepModel(nn.Module):
    """The article's model."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(10, 50)
        self.relu1 = nn.ReLU()
        self.linear2 = nn.Linear(50, 100)
        self.relu2 = nn.ReLU()
        self.linear3 = nn.Linear(100, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu1(self.linear1(x))
        x = self.relu2(self.linear2(x))
        return self.linear3(x)


def train(logdir: str, run: str) -> None:
    torch.manual_seed(42)
    if run == "deep_model":
        train_coin_flips(logdir)
    else:
        train_unguarded(logdir)


def train_coin_flips(logdir: str) -> None:
    data, held_out = split(coin_labels(1800, 10), 200)
    loader = DataLoader(data, batch_size=16, shuffle=True)
    model = DeepModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    criterion = nn.CrossEntropyLoss()

    with LossLensWriter(logdir) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(loader)
        val_loader = writer.wrap(DataLoader(held_out, batch_size=100), split="val")
        step = 0
        for epoch in range(24):
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


def train_unguarded(logdir: str) -> None:
    loader = DataLoader(tanh_targets(3200, 10, noise=0.1), batch_size=32, shuffle=True)
    widths = (10, 50, 50, 50, 50, 50)
    layers = [layer for i, o in pairwise(widths) for layer in (nn.Linear(i, o), nn.LeakyReLU(0.2))]
    model = nn.Sequential(*layers, nn.Linear(50, 1))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    scheduler = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 600))
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
                scheduler.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
