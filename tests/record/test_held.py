"""Nothing of a training is kept alive by its recording: no batch, no graph, no gradient, and at the end no model."""

import gc
import weakref
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from tests.record.training import events, loader, two_classes


@contextmanager
def without_collection():
    """What dies inside dies by itself: a reference cycle would keep it until some later collection."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Mark:
    """Lives as long as the node of a graph that it is put into."""


def graph_of(tensor):
    """Stands for the graph of a tensor, whose nodes know no weak references."""
    mark = tensor.grad_fn.metadata["mark"] = Mark()
    return mark


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def plain(writer, model, criterion, optimizer, inputs, targets):
    output = model(inputs)
    loss = criterion(output, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return [output, loss, graph_of(loss)]


def told(writer, model, criterion, optimizer, inputs, targets):
    output = model(inputs)
    losses = nn.functional.cross_entropy(output, targets, reduction="none")
    loss = losses.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    writer.log_batch(loss, inputs=inputs, targets=targets, per_sample=losses, hidden=output)
    return [output, losses, loss, graph_of(loss)]


def penalised(writer, model, criterion, optimizer, inputs, targets):
    output = model(inputs.requires_grad_())
    loss = criterion(output, targets)
    (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
    whole = loss + slope.square().sum()
    optimizer.zero_grad()
    whole.backward()
    optimizer.step()
    return [output, loss, whole, slope, graph_of(whole)]


def accumulated(writer, model, criterion, optimizer, inputs, targets):
    optimizer.zero_grad()
    kept = []
    for part, answers in zip(inputs.chunk(2), targets.chunk(2), strict=True):
        output = model(part)
        loss = criterion(output, answers) / 2
        loss.backward()
        kept += [output, loss, graph_of(loss)]
    optimizer.step()
    return kept


def abandoned(writer, model, criterion, optimizer, inputs, targets):
    """A loss that nobody goes backward through."""
    output = model(inputs)
    loss = criterion(output, targets)
    optimizer.step()
    return [output, loss, graph_of(loss)]


def by_closure(writer, model, criterion, optimizer, inputs, targets):
    def closure():
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    return [loss, graph_of(loss)]


@pytest.mark.parametrize("probe", [False, True], ids=["", "probe"])
@pytest.mark.parametrize("step", [plain, told, penalised, accumulated, abandoned, by_closure], ids=lambda step: step.__name__)
def test_what_a_step_makes_dies_with_it(step, probe, recorded):
    torch.manual_seed(0)
    one, model, criterion = recorded(), network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    one.writer.watch(model, optimizer, criterion=None if step is told else criterion)
    if probe:
        one.writer.set_probe(loss_fn=criterion if step is told else None)
    batches = one.writer.wrap(loader(two_classes(), shuffle=True))
    alive = {}
    with without_collection():
        for epoch in range(3):
            for inputs, targets in batches:
                made = [inputs, targets, *step(one.writer, model, criterion, optimizer, inputs, targets)]
                made += [p.grad for p in model.parameters() if p.grad is not None]
                references = [weakref.ref(thing) for thing in made]
                del inputs, targets, made
                optimizer.zero_grad()
                alive[epoch, len(alive)] = [type(ref()).__name__ for ref in references if ref() is not None]
    assert not any(alive.values()), alive
    run = one.run()
    assert len(run) == len(alive)
    assert (run.float("dense") > 0).sum() > len(alive) // 2
    assert bool(events(run, "probe")) == probe


def test_a_model_and_its_optimiser_die_after_the_recording_while_its_writer_lives(recorded):
    torch.manual_seed(0)
    one, model, criterion = recorded(), network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    one.writer.watch(model, optimizer, scheduler=scheduler, criterion=criterion)
    one.writer.set_probe()
    for inputs, targets in one.writer.wrap(loader(two_classes(), shuffle=True)):
        plain(one.writer, model, criterion, optimizer, inputs, targets)
    kept = [*model.modules(), *model.parameters(), optimizer, criterion, scheduler]
    kept += [value for state in optimizer.state.values() for value in state.values()]
    references = [weakref.ref(thing) for thing in kept]
    one.writer.close()
    del model, optimizer, scheduler, criterion, kept, inputs, targets
    gc.collect()
    assert [type(ref()).__name__ for ref in references if ref() is not None] == []


def test_a_layer_that_was_replaced_dies_at_the_next_epoch(recorded):
    torch.manual_seed(0)
    one, model, criterion = recorded(), network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    one.writer.watch(model, optimizer, criterion=criterion)
    batches = one.writer.wrap(loader(two_classes(), shuffle=True))

    def train():
        for inputs, targets in batches:
            plain(one.writer, model, criterion, optimizer, inputs, targets)

    train()
    head = weakref.ref(model[3].weight)
    model[3] = nn.Linear(16, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    one.writer.watch(model, optimizer)
    train()
    train()
    gc.collect()
    assert head() is None
