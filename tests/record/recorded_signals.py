"""What collectors tell, kept in memory, and a loop that calls their moments from a real training."""

import torch
from torch import Tensor
from torch.autograd import Variable

from tb_losslens.record.row import Row


class Told:
    """Takes the place of the recorder: the numbers of each row."""

    def __init__(self, *collectors):
        self.collectors = collectors
        self.rows = []
        for collector in collectors:
            collector.tell = self.tell

    def tell(self, row, values):
        for name, value in values.items():
            row.values[name] = value.item() if isinstance(value, Tensor) else float(value)

    def row(self, dense=1, **kwargs):
        row = Row({}, dense=dense, **kwargs)
        self.rows.append(row)
        return row

    def each(self, moment, *args):
        return [getattr(collector, moment)(*args) for collector in self.collectors]

    def column(self, name):
        return [row.values.get(name) for row in self.rows]


def moments(told, row, model, criterion, inputs, targets):
    """Forward and criterion with their moments; gives a loss whose backward tells, too."""
    told.each("forward_begins", row, (inputs,), {})
    told.each("inputs_given", row, (inputs,), {})
    output = model(inputs)
    told.each("forward_ends", row, output)
    loss = criterion(output, targets)
    told.each("criterion_called", row, (output, targets), loss)

    def begins(gradient):
        told.each("backward_begins", row)
        Variable._execution_engine.queue_callback(lambda: told.each("backward_ends", row))

    loss.register_hook(begins)
    return loss


def step(told, row, optimizer, scaler=None):
    """An optimiser step with its moments, told as hooks of the optimiser are called."""

    def begins(*_):
        told.each("step_begins", row, optimizer)

    def ends(*_):
        told.each("step_ends", row, optimizer)

    before, after = optimizer.register_step_pre_hook(begins), optimizer.register_step_post_hook(ends)
    try:
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
    finally:
        before.remove()
        after.remove()


def data(samples=64, features=6, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, features, generator=generator), torch.randint(0, classes, (samples,), generator=generator)
