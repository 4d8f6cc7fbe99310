"""Weights, random numbers and order are bit for bit those of the same training without us, while every collector records."""

import copy
import hashlib

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.record.training import events

CLASSES = 4


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.Conv2d(8, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(8 * 16, CLASSES))

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 12)
        self.rnn = nn.LSTM(12, 16, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x.flatten(1).reshape(-1, 8, 8)))[0][:, -1])


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, CLASSES))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)


def train(model_class, optimizer_class, one=None, epochs=2):
    """Trains on random images and gives everything that a trace would show in."""
    torch.manual_seed(5)
    data = TensorDataset(torch.randn(150, 1, 8, 8), torch.randint(0, CLASSES, (150,)))
    model, criterion = model_class(), nn.CrossEntropyLoss()
    optimizer = optimizer_class(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    train_loader = DataLoader(data, 16, shuffle=True, num_workers=2)
    held_out = DataLoader(data, 50)
    writer = one.writer if one is not None else None
    if writer is not None:
        writer.watch(model, optimizer, criterion=criterion, scheduler=scheduler, config={"lr": 0.05})
        train_loader, held_out = writer.wrap(train_loader), writer.wrap(held_out, split="val")
    step, order = 0, hashlib.sha256()
    for epoch in range(epochs):
        model.train()
        for inputs, targets in train_loader:
            order.update(inputs.numpy().tobytes())
            loss = criterion(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            if writer is not None:
                writer.add_scalar("Loss/train", loss.item(), step)
            step += 1
        scheduler.step()
        model.eval()
        with torch.no_grad():
            total = sum(criterion(model(inputs), targets).item() for inputs, targets in held_out)
        if writer is not None:
            writer.add_scalar("Loss/val", total / len(held_out), epoch)
    state = copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    return state, order.hexdigest(), torch.get_rng_state(), total


def same(left, right):
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("model", [mlp, Cnn, Lstm])
def test_bit_identical(model, optimizer, recorded):
    one = recorded()
    assert same(train(model, optimizer), train(model, optimizer, one))
    run = one.run()
    assert len(run) == 20
    signals = [
        "loss",
        "logged_loss",
        "lr",
        "train_mode",
        "grad_norm",
        "grad_norm_at_step",
        "input_mean",
        "input_std",
        "data_wait",
        "time",
        "step",
    ]
    counted = ["bn_updates"] if model is Cnn else []
    for signal in signals + counted:
        assert not torch.tensor(run.float(signal)).isnan().any(), signal
    for signal in ("sample_ids", "classes"):
        assert len(run.ragged[signal]) == 20
        assert run.has(signal)
    assert [len(events(run, kind)) for kind in ("epoch_begin", "epoch_end", "validation_end")] == [2, 2, 2]
    assert all(event.fields["order_hash"] for event in events(run, "epoch_end"))
