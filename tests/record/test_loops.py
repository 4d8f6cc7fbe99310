"""Loops put together at random, each against its own list of what it trained on."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.record.test_epochs import look_ahead
from tests.record.training import Indexed, mlp


class Loop:
    """One loop; what it does is drawn from `seed`."""

    def __init__(self, one, seed):
        draw = random.Random(seed)
        self.one, self.draw = one, draw
        self.ids, self.losses, self.passes, self.values = [], [], [], []
        self.source = draw.choice(["criterion", "log_batch", "scalar", "criterion and scalar", "criterion and log_batch"])
        self.model = nn.Sequential(nn.Linear(3, 8), mlp(8, 3))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05)
        self.sees_model = draw.random() < 0.6
        one.writer.watch(
            self.model if self.sees_model else None,
            self.optimizer if draw.random() < 0.5 else None,
            criterion=self.criterion if "criterion" in self.source else None,
        )
        self.train_loader = DataLoader(
            Indexed(draw.randint(20, 60)), draw.randint(2, 7), shuffle=True, drop_last=draw.random() < 0.5
        )
        self.held_out = DataLoader(Indexed(12), 5)
        self.wraps_held_out = draw.random() < 0.6
        self.ahead = draw.choice([0, 0, 1, 2])
        self.copies = draw.random() < 0.5
        self.accumulates = draw.choice([1, 1, 3])
        self.stops_early = draw.random() < 0.3
        self.validates_inside = self.wraps_held_out and draw.random() < 0.4

    def run(self):
        wrapped = self.one.writer.wrap(self.train_loader)
        held_out = self.one.writer.wrap(self.held_out, split="val") if self.wraps_held_out else self.held_out
        for epoch in range(3):
            self.model.train()
            stop = self.draw.randint(2, 4) if self.stops_early and epoch == 1 else None
            steps = 0
            for inputs, targets, ids in look_ahead(wrapped, self.ahead):
                self.step(inputs.clone() if self.copies else inputs, targets, ids)
                steps += 1
                if self.validates_inside and steps == 3:
                    self.validate(held_out, epoch)
                if steps == stop:
                    break
            self.passes.append(steps)
            self.validate(held_out, epoch)
        return self.one.run()

    def step(self, inputs, targets, ids):
        loss = self.criterion(self.model(inputs), targets)
        (loss / self.accumulates).backward()
        number = len(self.losses)
        if self.draw.random() < 0.1:
            with torch.no_grad():
                self.model(inputs)  # the accuracy of the batch, say
        if number % self.accumulates == self.accumulates - 1:
            self.optimizer.step()
            self.optimizer.zero_grad()
        if "scalar" in self.source:
            self.one.writer.add_scalar("Loss/train", loss.item(), number)
            self.one.writer.add_scalar("other", 1.0, number)
        if "log_batch" in self.source:
            self.one.writer.log_batch(loss, step=number)
        self.ids.append(ids.tolist())
        self.losses.append(loss.item())

    def validate(self, held_out, epoch):
        self.model.eval()
        with torch.no_grad():
            total = sum(self.criterion(self.model(inputs), targets).item() for inputs, targets, _ in held_out)
        self.model.train()
        self.one.writer.add_scalar("Loss/val", total, epoch)
        self.values.append(total)


@pytest.mark.parametrize("seed", range(24))
def test_rows_are_what_the_loop_trained_on(seed, recorded):
    torch.manual_seed(seed)
    loop = Loop(recorded(), seed)
    run = loop.run()
    assert len(run) == len(loop.ids)
    assert [run.ragged["sample_ids"][row].tolist() for row in range(len(run))] == loop.ids
    np.testing.assert_allclose(run.loss, loop.losses, rtol=1e-6)
    assert run.step.tolist() == list(range(len(run)))
    assert [len(epoch) for epoch in run.epochs] == loop.passes
    assert [validation.value for validation in run.validations] == pytest.approx(loop.values)
    if loop.sees_model:
        assert (run.float("train_mode") == 1).all()
        assert (run.float("grad_norm") > 0).all()
