"""Trainings whose loss is a function that is only logged, and what their runs say of it."""


import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tb_losslens.record.signals.loss_functions import IDENTITIES, KINDS
from tests.record.training import mlp

LISTS = ("per_sample", "class_losses")
NUMBERS = ("loss_identity", "output_kind", "sample_loss_max", "sample_loss_max_id")


class Samples(Dataset):
    """Inputs and three classes, or amounts, that follow from them; as `form` puts them together."""

    def __init__(self, samples=100, amounts=False, form=lambda x, y: (x, y)):
        self.x = torch.randn(samples, 8, generator=torch.Generator().manual_seed(1))
        self.y = self.x[:, :3].sum(1) if amounts else self.x[:, :3].argmax(1)
        self.form = form

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.form(self.x[index], self.y[index])


class Returns(nn.Module):
    """A small network, and `form` of what comes out of it."""

    def __init__(self, form=lambda out: out, classes=3):
        super().__init__()
        self.net, self.form = mlp(8, classes), form

    def forward(self, x):
        return self.form(self.net(x))


def scalar(writer, loss, step):
    writer.add_scalar("Loss/train", loss.item(), step)


def log_batch(writer, loss, step):
    writer.log_batch(loss, step=step)


def train(
    one,
    *,
    model=None,
    data=None,
    loss_of=lambda model, x, y: F.cross_entropy(model(x), y),
    log=scalar,
    criterion=None,
    epochs=3,
    loader=None,
    backward=lambda loss: loss.backward(),
    parts=lambda batch: batch,
):
    """The run of a plain training; 7 batches an epoch, of which the last one has 4 samples."""
    torch.manual_seed(0)
    model = model if model is not None else Returns()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    writer, step = one.writer, 0
    writer.watch(model, optimizer, criterion=criterion)
    loader = loader if loader is not None else writer.wrap(DataLoader(data or Samples(), 16, shuffle=True))
    for _ in range(epochs):
        for batch in loader:
            loss = loss_of(model, *parts(batch))
            optimizer.zero_grad()
            backward(loss)
            optimizer.step()
            log(writer, loss, step)
            step += 1
    return one.run()


def names(run):
    """What the loss of each tested row was found to be."""
    codes = run.float("loss_identity")
    return {row: IDENTITIES[int(codes[row])] if codes[row] >= 0 else "" for row in np.flatnonzero(np.isfinite(codes))}


def kinds(run):
    codes = run.float("output_kind")
    return {KINDS[int(code)] for code in codes[np.isfinite(codes)]}


def nothing_of(run):
    return not any(run.has(name) for name in (*NUMBERS, *LISTS))
