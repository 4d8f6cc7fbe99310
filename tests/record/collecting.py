"""Drives collectors through the moments of a plain training loop."""

import torch
from torch import Tensor

from tb_losslens.record.row import Row

torch.set_num_threads(1)


def tell(row, values):
    row.values.update({name: value.item() if isinstance(value, Tensor) else value for name, value in values.items()})


def started(*collectors):
    for collector in collectors:
        collector.tell = tell
        collector.epoch_begins(0)
    return collectors


def call(collectors, row, moment, *args):
    for collector in collectors:
        if row.dense or collector.each_step:
            getattr(collector, moment)(row, *args)


def train(collectors, model, optimizer, loss_of, steps, *, dense=lambda step: True, seen=lambda row, moment: None):
    """Rows of `steps` steps; `loss_of(model, step)` gives the loss, `seen` is called at each moment before the collectors."""
    rows = []
    for step in range(steps):
        row = Row({}, dense=int(dense(step)), deep=bool(dense(step)))

        def moment(name, *args, row=row):
            seen(row, name)
            call(collectors, row, name, *args)

        moment("forward_begins", (), {})
        loss = loss_of(model, step)
        moment("forward_ends", loss)
        optimizer.zero_grad()
        loss.backward()
        moment("backward_ends")
        moment("step_begins", optimizer)
        optimizer.step()
        moment("step_ends", optimizer)
        rows.append(row)
    return rows


def nothing(facts):
    """Takes facts that a test does not ask for."""


class Said(dict):
    """Facts that were told."""

    def __call__(self, facts):
        self.update(facts)


def blobs(samples=64, features=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, features, generator=generator)
    return inputs, (inputs.sum(1) > 0).long()
