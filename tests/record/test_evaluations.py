"""Optimisers that evaluate the loss several times for one step: one row a step, with the loss that it began with."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes


class SAM(torch.optim.Optimizer):
    """Sharpness-aware minimisation (Foret et al. 2021): the gradient at the worst weights nearby, applied at the old ones."""

    def __init__(self, parameters, base, rho=0.05, **kwargs):
        super().__init__(parameters, {"rho": rho, **kwargs})
        self.base = base(self.param_groups, **kwargs)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def climb(self):
        parameters = [p for group in self.param_groups for p in group["params"]]
        norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["old"] = p.detach().clone()
                p.add_(p.grad, alpha=float(group["rho"] / norm))
        self.zero_grad()

    @torch.no_grad()
    def descend(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.copy_(self.state[p]["old"])
        self.base.step()
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        if closure is not None:
            self.climb()
            torch.enable_grad()(closure)()
        self.descend()


def sam(parameters):
    return SAM(parameters, torch.optim.SGD, lr=0.1, momentum=0.9)


def lbfgs(parameters):
    return torch.optim.LBFGS(parameters, lr=0.3, max_iter=4)


def lbfgs_with_line_search(parameters):
    return torch.optim.LBFGS(parameters, lr=0.3, max_iter=4, line_search_fn="strong_wolfe")


def two_calls(optimizer, closure):
    closure()
    optimizer.climb()
    closure()
    optimizer.descend()


def two_calls_and_a_step(optimizer, closure):
    closure()
    optimizer.climb()
    closure()
    optimizer.step()


def a_call_and_a_closure(optimizer, closure):
    closure()
    optimizer.step(closure)


def a_closure(optimizer, closure):
    optimizer.step(closure)


LOOPS = [
    (sam, two_calls),
    (sam, two_calls_and_a_step),
    (sam, a_call_and_a_closure),
    (lbfgs, a_closure),
    (lbfgs_with_line_search, a_closure),
]


def train(make, loop, one=None, *, wrapped=True, logs=False, criterion=None):
    """Digest of the weights, and the losses of all evaluations of each step."""
    torch.manual_seed(0)
    model, criterion = mlp(), criterion or nn.CrossEntropyLoss()
    optimizer = make(model.parameters())
    batches, said = loader(two_classes(), shuffle=True), []
    if one is not None:
        one.writer.watch(model, optimizer, criterion=criterion)
        batches = one.writer.wrap(batches) if wrapped else batches
    for _ in range(2):
        for inputs, targets in batches:
            calls = []

            def closure(inputs=inputs, targets=targets, calls=calls):
                optimizer.zero_grad()
                loss = criterion(model(inputs), targets).mean()
                loss.backward()
                calls.append(loss.item())
                return loss

            loop(optimizer, closure)
            said.append(calls)
            if logs:
                one.writer.add_scalar("Loss/train", calls[0], len(said))
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in model.state_dict().values())).hexdigest(), said


@pytest.mark.parametrize("logs", [False, True], ids=["", "logs"])
@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
@pytest.mark.parametrize(("make", "loop"), LOOPS, ids=lambda part: part.__name__)
def test_the_loss_of_a_step_is_that_of_its_first_evaluation(make, loop, wrapped, logs, recorded):
    plain, one = train(make, loop), recorded()
    watched = train(make, loop, one, wrapped=wrapped, logs=logs)
    assert watched == plain
    assert min(map(len, plain[1])) > 1
    run = one.run()
    np.testing.assert_allclose(run.loss, [calls[0] for calls in plain[1]], rtol=1e-6)
    assert (run.float("batch_size") == 20).all()
    assert np.isnan(run.float("curvature")).all()  # the gradients are those of other weights
    assert np.isfinite(run.float("grad_norm")).all()
    if make is sam:
        assert (run.float("micro_batches") == 1).all()
    assert len(events(run, "config_change")) <= 2  # the optimiser inside is found once, and its class is another


def test_the_losses_of_samples_are_those_of_the_first_evaluation(recorded):
    one = recorded()
    _, said = train(sam, two_calls, one, criterion=nn.CrossEntropyLoss(reduction="none"))
    run = one.run()
    means = [run.ragged["per_sample"][row].mean() for row in range(len(run))]
    np.testing.assert_allclose(means, [calls[0] for calls in said], rtol=1e-5)


def test_what_a_step_changed_is_not_taken_from_weights_that_were_moved_aside(recorded):
    one = recorded()
    train(sam, two_calls_and_a_step, one)
    assert np.isnan(one.run().float("update_ratio")).all()
    other = recorded()
    train(sam, a_call_and_a_closure, other)
    assert np.isfinite(other.run().float("update_ratio")).all()


@pytest.mark.parametrize("renormalised", [False, True], ids=["plain", "writes to its weight"])
def test_micro_batches_at_the_same_weights_are_averaged_as_ever(renormalised, recorded):
    torch.manual_seed(0)
    one, criterion = recorded(), nn.CrossEntropyLoss()
    # an embedding with `max_norm` writes to its own weight in each forward
    embedding = nn.Embedding(30, 8, max_norm=0.5 if renormalised else None)
    model = nn.Sequential(embedding, nn.Flatten(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    data = torch.utils.data.TensorDataset(torch.arange(240).reshape(120, 2) % 30, torch.arange(120) % 2)
    said = []
    for inputs, targets in one.writer.wrap(loader(data, shuffle=True)):
        optimizer.zero_grad()
        losses = []
        for part, goal in zip(inputs.chunk(4), targets.chunk(4), strict=True):
            loss = criterion(model(part), goal)
            (loss / 4).backward()
            losses.append(loss.item())
        optimizer.step()
        said.append(np.mean(losses))
    np.testing.assert_allclose(one.run().loss, said, rtol=1e-6)


@pytest.mark.parametrize("named", [False, True], ids=["no optimiser", "an optimiser whose steps nobody sees"])
def test_weights_that_are_changed_by_hand_are_no_second_evaluation(named, recorded):
    torch.manual_seed(0)
    one, model, criterion = recorded(), mlp(), nn.CrossEntropyLoss()
    one.writer.watch(model, torch.optim.SGD(model.parameters(), lr=0.1) if named else None, criterion=criterion)
    said = []
    for inputs, targets in loader(two_classes()):
        loss = criterion(model(inputs), targets)
        model.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(parameter.grad, alpha=0.1)
        said.append(loss.item())
    # the second one is believed to be another evaluation, until the third shows that no step is ever seen
    np.testing.assert_allclose(one.run().loss, [said[0], *said[2:]] if named else said, rtol=1e-6)
