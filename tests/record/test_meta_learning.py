"""Loops without a loader that compute gradients of their own before the step: one row a call of `log_batch`."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from tests.record.training import mlp


def task():
    inputs = torch.randn(10, 8)
    return inputs, (inputs.sum(1) > 0).long()


def adapted(model, loss_of):
    """The weights after an inner step on one batch."""
    inputs, targets = task()
    weights = dict(model.named_parameters())
    loss = loss_of(functional_call(model, weights, (inputs,)), targets)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    return {name: p - 0.05 * g for (name, p), g in zip(weights.items(), gradients, strict=True)}


def meta(one, *, steps=20, log=True, tasks=3):
    torch.manual_seed(0)
    model, loss_of, truth = mlp(), nn.functional.cross_entropy, []
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    one.writer.watch(model, optimizer)
    for step in range(steps):
        if not step % 10:
            one.writer.start_epoch(step // 10)
        total = 0
        for _ in range(tasks):
            weights = adapted(model, loss_of)
            inputs, targets = task()
            total = total + loss_of(functional_call(model, weights, (inputs,)), targets)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        truth.append(total.item())
        if log:
            one.writer.log_batch(total, step=step)
    return truth, one.run()


def test_an_inner_step_is_no_batch(recorded):
    truth, run = meta(recorded())
    assert run.loss.tolist() == pytest.approx(truth, rel=1e-6)
    assert [len(epoch) for epoch in run.epochs] == [10, 10]
    assert run.step.tolist() == list(range(20))


def test_neither_is_it_where_nothing_is_logged(recorded):
    _, run = meta(recorded(), log=False)
    assert len(run) == 20


def test_gradients_that_are_applied_by_hand_end_a_batch(recorded):
    """The near miss: nothing steps, so the next call after a backward is the next batch."""
    one = recorded()
    torch.manual_seed(0)
    model, criterion, truth = mlp(), nn.CrossEntropyLoss(), []
    one.writer.watch(model, criterion=criterion)
    for _ in range(10):
        inputs, targets = task()
        loss = criterion(model(inputs), targets)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.data -= 0.1 * gradient
        truth.append(loss.item())
    assert one.run().loss.tolist() == pytest.approx(truth)


def loop(one, *, parts, every):
    """Accumulates over `parts`, and calls `log_batch` after each step, or after every so many."""
    torch.manual_seed(0)
    model, criterion, truth = mlp(), nn.CrossEntropyLoss(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    one.writer.watch(model, optimizer)
    for step in range(12):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(parts):
            inputs, targets = task()
            loss = criterion(model(inputs), targets) / parts
            loss.backward()
            total += loss.item()
        optimizer.step()
        truth.append(total)
        if not step % every:
            one.writer.log_batch(total)
    return truth, one.run()


def test_accumulated_parts_are_one_batch_once_it_is_logged(recorded):
    truth, run = loop(recorded(), parts=3, every=1)
    assert run.loss[np.isfinite(run.loss)].tolist() == pytest.approx(truth)
    assert len(run) - 12 <= 2  # those before the first call, which says so


def test_a_step_that_is_not_logged_is_a_batch_all_the_same(recorded):
    truth, run = loop(recorded(), parts=1, every=4)
    assert len(run) == 12
    assert run.loss[::4].tolist() == pytest.approx(truth[::4])
    assert np.isnan(run.loss).sum() == 9
