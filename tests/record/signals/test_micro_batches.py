import pytest
import torch
from torch import nn

from tb_losslens.record.signals.micro_batches import MicroBatches
from tests.record.recorded_signals import Told, data, moments, step


class Training:
    def __init__(self, dense=1, model=None):
        torch.manual_seed(0)
        self.model = model or nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05)
        self.criterion = nn.CrossEntropyLoss()
        self.collector = MicroBatches(lambda: [self.optimizer])
        self.told = Told(self.collector)
        self.dense = dense

    def epoch(self, batches=8, each=1, zero=True, zero_after_forward=False, to_none=True, remainder=False):
        inputs, targets = data()
        self.collector.epoch_begins(0)
        for i in range(batches):
            row = self.told.row(self.dense)
            if zero and i % each == 0 and not zero_after_forward:
                self.optimizer.zero_grad(set_to_none=to_none)
            part = slice(8 * (i % 8), 8 * (i % 8) + 8)
            loss = moments(self.told, row, self.model, self.criterion, inputs[part], targets[part])
            if zero and i % each == 0 and zero_after_forward:
                self.optimizer.zero_grad(set_to_none=to_none)
            loss.backward()
            if (i + 1) % each == 0:
                step(self.told, row, self.optimizer)
        return self.collector.epoch_ends(0)


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_a_healthy_loop(to_none, after):
    training = Training()
    assert training.epoch(to_none=to_none, zero_after_forward=after) is None
    assert training.told.column("micro_batches") == [1] * 8
    assert training.told.column("grads_before_backward") == [None] + [0] * 7


def test_gradients_that_nobody_clears():
    training = Training()
    training.epoch(zero=False)
    assert training.told.column("grads_before_backward") == [None] + [1] * 7
    assert training.told.column("micro_batches") == [1] * 8


@pytest.mark.parametrize("to_none", [True, False])
def test_accumulation_on_purpose(to_none):
    training = Training()
    assert training.epoch(each=4, to_none=to_none) is None
    assert training.told.column("micro_batches") == [None, None, None, 4] * 2
    assert training.told.column("grads_before_backward") == [None] * 7 + [0]


def test_accumulation_that_nobody_clears():
    training = Training()
    training.epoch(each=4, zero=False)
    assert training.told.column("grads_before_backward") == [None] * 7 + [1]


def test_what_an_epoch_leaves():
    training = Training()
    left = training.epoch(batches=10, each=4)
    norm = torch.cat([p.grad.reshape(-1) for p in training.model.parameters()]).norm().item()
    assert left == {"backwards_left": 2, "gradients_left": pytest.approx(norm, rel=1e-5)}
    training.epoch(batches=2, each=2, zero=False)
    assert training.told.column("micro_batches")[-1] == 4  # it leaked into the next epoch
    dropped = Training()
    dropped.epoch(batches=10, each=4)
    dropped.epoch(batches=2, each=2)
    assert dropped.told.column("micro_batches")[-1] == 2  # it was cleared instead


def test_sparse_rows_know_what_is_cheap_to_know():
    wide = nn.Sequential(nn.Linear(6, 4096), nn.ReLU(), nn.Linear(4096, 3))
    healthy, zeros, left = (Training(dense=0, model=wide) for _ in range(3))
    healthy.epoch()
    assert healthy.told.column("grads_before_backward") == [None] + [0] * 7
    zeros.epoch(to_none=False)
    assert zeros.told.column("grads_before_backward") == [None] * 8
    assert zeros.told.column("micro_batches") == [1] * 8
    left.epoch(zero=False)
    assert left.told.column("grads_before_backward") == [None] + [1] * 7


def test_two_networks_that_wait_for_each_other():
    torch.manual_seed(0)
    first, second = nn.Linear(6, 6), nn.Linear(6, 3)
    optimizers = [torch.optim.SGD(first.parameters(), 0.1), torch.optim.SGD(second.parameters(), 0.1)]
    told = Told(MicroBatches(lambda: optimizers))
    inputs, targets = data()
    for _ in range(4):  # as adversarial networks: each is cleared right before its own backward
        row = told.row()
        optimizers[1].zero_grad()
        moments(told, row, lambda x: second(first(x).detach()), nn.CrossEntropyLoss(), inputs, targets).backward()
        step(told, row, optimizers[1])
        row = told.row()
        optimizers[0].zero_grad()
        moments(told, row, lambda x: second(first(x)), nn.CrossEntropyLoss(), inputs, targets).backward()
        step(told, row, optimizers[0])
    assert told.column("grads_before_backward") == [None, None] + [0] * 6
    assert told.column("micro_batches") == [1] * 8


def test_two_optimizers_of_one_backward():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    optimizers = [torch.optim.SGD(part.parameters(), 0.1) for part in model]
    told = Told(MicroBatches(lambda: optimizers))
    inputs, targets = data()
    for _ in range(3):
        row = told.row()
        optimizers[0].zero_grad()  # the other one is forgotten
        moments(told, row, model, nn.CrossEntropyLoss(), inputs, targets).backward()
        for optimizer in optimizers:
            step(told, row, optimizer)
    assert told.column("grads_before_backward") == [None, 1, 1]
    assert told.column("micro_batches") == [1, 1, 1]


def test_the_backwards_of_a_closure_are_part_of_its_step():
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    told = Told(MicroBatches(lambda: [optimizer]))
    inputs, targets = data()
    for _ in range(3):
        row = told.row()

        def closure(row=row):
            optimizer.zero_grad()
            loss = moments(told, row, model, nn.CrossEntropyLoss(), inputs, targets)
            loss.backward()
            return loss

        told.each("step_begins", row, optimizer)
        optimizer.step(closure)
        told.each("step_ends", row, optimizer)
    assert told.column("micro_batches") == [None] * 3
    assert told.column("grads_before_backward") == [None] * 3
    assert told.collectors[0].epoch_ends(0) is None


def test_frozen_parameters_do_not_count():
    training = Training()
    training.model[0].weight.grad = torch.ones(16, 6)
    training.model[0].requires_grad_(False)
    training.optimizer.zero_grad = lambda set_to_none=True: [setattr(p, "grad", None) for p in training.model[2].parameters()]
    training.epoch()
    assert training.told.column("grads_before_backward") == [None] + [0] * 7


def test_sparse_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 4, sparse=True), nn.Flatten(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    told = Told(MicroBatches(lambda: [optimizer]))
    tokens, targets = torch.randint(0, 20, (8, 2)), torch.randint(0, 3, (8,))
    for zero in (True, True, False):
        row = told.row()
        if zero:
            optimizer.zero_grad()
        moments(told, row, model, nn.CrossEntropyLoss(), tokens, targets).backward()
        step(told, row, optimizer)
    assert told.column("grads_before_backward") == [None, 0, 1]
