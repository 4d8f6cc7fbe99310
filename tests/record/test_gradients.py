"""Gradient norms and learning rates against plain computation in the loop itself."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import loader, mlp, two_classes


def plain_norm(parameters):
    return math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in parameters if p.grad is not None))


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), None], ids=["criterion", "function"])
def test_before_and_after_clipping(criterion, recorded):
    one = recorded()
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    one.writer.watch(model, optimizer, criterion=criterion)
    before, after = [], []
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        output = model(inputs)
        loss = criterion(output, targets) if criterion is not None else nn.functional.cross_entropy(output, targets)
        optimizer.zero_grad()
        loss.backward()
        before.append(plain_norm(model.parameters()))
        nn.utils.clip_grad_norm_(model.parameters(), 0.2)
        after.append(plain_norm(model.parameters()))
        optimizer.step()
        one.writer.add_scalar("Loss/train", loss.item())
    run = one.run()
    np.testing.assert_allclose(run.float("grad_norm"), before, rtol=1e-5)
    np.testing.assert_allclose(run.float("grad_norm_at_step"), after, rtol=1e-5)
    assert max(after) < 0.21 < min(before)


def test_log_batch_before_the_backward_sees_it(recorded):
    one = recorded()
    weight = nn.Parameter(torch.ones(4))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    one.writer.watch(optimizer=optimizer)
    norms = []
    for step in range(4):
        loss = (weight**2).sum() * (step + 1)
        one.writer.log_batch(loss, step=step)
        optimizer.zero_grad()
        loss.backward()
        norms.append(plain_norm([weight]))
        optimizer.step()
    run = one.run()
    assert len(run) == 4
    np.testing.assert_allclose(run.float("grad_norm"), norms, rtol=1e-6)
    np.testing.assert_allclose(run.float("grad_norm_at_step"), norms, rtol=1e-6)


def test_divided_by_the_scale_of_mixed_precision(recorded):
    one = recorded()
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    one.writer.watch(model, optimizer, criterion=criterion, scaler=scaler)
    truth = []
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        truth.append(plain_norm(model.parameters()))
        nn.utils.clip_grad_norm_(model.parameters(), 0.2)
        scaler.step(optimizer)
        scaler.update()
    run = one.run()
    np.testing.assert_allclose(run.float("grad_norm"), truth, rtol=1e-4)
    assert (run.float("grad_norm_at_step") < 0.21).all()


def test_one_row_a_micro_batch_under_accumulation(recorded):
    one = recorded()
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    losses, norms = [], []
    for position, (inputs, targets) in enumerate(one.writer.wrap(loader(two_classes(), 10))):
        loss = criterion(model(inputs), targets)
        losses.append(loss.item())
        (loss / 4).backward()
        norms.append(plain_norm(model.parameters()))
        if position % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    run = one.run()
    np.testing.assert_allclose(run.loss, losses)
    np.testing.assert_allclose(run.float("grad_norm"), norms, rtol=1e-5)
    assert np.isfinite(run.float("grad_norm_at_step")).tolist() == [False, False, False, True] * 3
    assert (run.float("lr") == 0.1).all()
    assert run.step.tolist() == list(range(12))


def test_learning_rate_of_each_group_at_its_step(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.01}])
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    one.writer.watch(model, optimizer, criterion=criterion, scheduler=scheduler)
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
        scheduler.step()
    run = one.run()
    np.testing.assert_allclose(run.float("lr"), 0.1 * 0.5 ** np.arange(6))
    np.testing.assert_allclose(run.float("lr.1"), 0.01 * 0.5 ** np.arange(6))
    assert run.facts["scheduler"]["class"] == "ExponentialLR"
    assert run.facts["scheduler"]["gamma"] == 0.5


@pytest.mark.parametrize("by_loader", [True, False])
def test_an_optimizer_that_calls_the_loop(by_loader, recorded):
    one = recorded()
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    one.writer.watch(model, optimizer, criterion=criterion)
    first = []
    batches = loader(two_classes())
    for inputs, targets in one.writer.wrap(batches) if by_loader else batches:
        calls = []

        def closure(inputs=inputs, targets=targets, calls=calls):
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            calls.append(loss.item())
            return loss

        optimizer.step(closure)
        first.append(len(calls))
    run = one.run()
    assert len(run) == 6
    assert max(first) > 1
    assert np.isfinite(run.loss).all()


def test_two_backwards_of_one_batch_are_averaged_by_samples(recorded):
    one = recorded()
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    truth = []
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        parts = []
        for part in (slice(0, 15), slice(15, 20)):
            loss = criterion(model(inputs[part]), targets[part])
            loss.backward()
            parts.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
        truth.append((15 * parts[0] + 5 * parts[1]) / 20)
    run = one.run()
    np.testing.assert_allclose(run.loss, truth)
    assert (run.columns["batch_size"] == 20).all()


def test_sparse_and_missing_gradients(recorded):
    one = recorded()
    model = nn.Sequential(nn.Embedding(10, 4, sparse=True), nn.Flatten(), nn.Linear(8, 2))
    unused = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([*model.parameters(), unused], lr=0.1)
    criterion = nn.CrossEntropyLoss()
    one.writer.watch(model, optimizer, criterion=criterion)
    truth = []
    for _ in range(3):
        optimizer.zero_grad()
        criterion(model(torch.randint(0, 10, (5, 2))), torch.randint(0, 2, (5,))).backward()
        dense = [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in model.parameters()]
        truth.append(math.sqrt(sum(float((g.double() ** 2).sum()) for g in dense)))
        optimizer.step()
    run = one.run()
    np.testing.assert_allclose(run.float("grad_norm"), truth, rtol=1e-5)


def test_a_model_without_gradients(recorded):
    one = recorded()
    model, criterion = mlp().requires_grad_(False), nn.CrossEntropyLoss()
    one.writer.watch(model, criterion=criterion)
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        criterion(model(inputs), targets)
    run = one.run()
    assert len(run) == 6
    assert np.isfinite(run.loss).all()
    assert not run.has("grad_norm")
