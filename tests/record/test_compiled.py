"""A compiled model keeps its graphs, whoever watches it, and every call of it is seen."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import loader, mlp, two_classes


def count_graphs(calls, watch=None):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    calls(lambda model, **kwargs: torch.compile(model, backend=backend, **kwargs), backend, watch)
    return len(graphs)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = mlp()

    def forward(self, inputs):
        return self.body(inputs * 2)


def outer(compile_, backend, watch):
    model = Net()
    compiled = compile_(model)
    run_compiled(model, compiled, watch and (lambda optimizer: watch(compiled, optimizer)))


def before(compile_, backend, watch):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if watch:
        watch(model, optimizer)
    run_compiled(model, compile_(model), None, optimizer)


def in_place(compile_, backend, watch):
    model = Net()
    model.compile(backend=backend)
    run_compiled(model, model, watch and (lambda optimizer: watch(model, optimizer)))


def whole_step(compile_, backend, watch):
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if watch:
        watch(model, optimizer, criterion)

    @torch.compile(backend=backend)
    def loss_of(inputs, targets):
        return criterion(model(inputs), targets)

    for inputs, targets in loader(two_classes()):
        optimizer.zero_grad()
        loss_of(inputs, targets).backward()
        optimizer.step()


def run_compiled(model, call, watch, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    if watch:
        watch(optimizer)
    criterion = nn.CrossEntropyLoss()
    for inputs, targets in wrapped_or_not(loader(two_classes())):
        optimizer.zero_grad()
        criterion(call(inputs), targets).backward()
        optimizer.step()


def wrapped_or_not(batches):
    return batches


@pytest.mark.parametrize(("calls", "unseen"), [(outer, 0), (in_place, 0), (before, 1)])
def test_a_compiled_model_keeps_its_graphs_and_every_call_is_seen(calls, unseen, recorded):
    without = count_graphs(calls)
    one = recorded()

    def watch(model, optimizer):
        one.writer.watch(model, optimizer)

    assert count_graphs(calls, watch) == without == 1
    run = one.run()
    assert len(run) == 6
    assert np.isnan(run.float("train_mode")).tolist() == [True] * unseen + [False] * (6 - unseen)
    assert np.isnan(run.float("grad_norm")).tolist() == [True] * unseen + [False] * (6 - unseen)


def test_a_compiled_function_around_the_model_keeps_its_graph(recorded):
    without = count_graphs(whole_step)
    one = recorded()

    def watch(model, optimizer, criterion):
        one.writer.watch(model, optimizer, criterion=criterion)

    assert count_graphs(whole_step, watch) == without == 1
    run = one.run()
    assert len(run) == 6
    assert run.float("lr").tolist() == [0.1] * 6
