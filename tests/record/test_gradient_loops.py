"""Loops that compute gradients otherwise than by `loss.backward()` alone: undisturbed, and recorded right."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap
from torch.utils.checkpoint import checkpoint

from tests.record.training import events, loader, two_classes

NAMES = ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]


def learn(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    return loss.item(), norm_of(optimizer)


def norm_of(optimizer):
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def checkpointed_model(model, criterion, optimizer, inputs, targets):
    return learn(criterion(checkpoint(model, inputs, use_reentrant=False), targets), optimizer)


def checkpointed_reentrant(model, criterion, optimizer, inputs, targets):
    return learn(criterion(checkpoint(model, inputs.requires_grad_(), use_reentrant=True), targets), optimizer)


def checkpointed_with_its_loss(model, criterion, optimizer, inputs, targets):
    return learn(checkpoint(lambda x: criterion(model(x), targets), inputs, use_reentrant=False), optimizer)


def gradient_penalty(model, criterion, optimizer, inputs, targets):
    output = model(inputs.requires_grad_())
    loss = criterion(output, targets)
    (slope,) = torch.autograd.grad(output.sum(), inputs, create_graph=True)
    return loss.item(), learn(loss + 0.1 * slope.square().mean(), optimizer)[1]


def penalty_on_the_loss(model, criterion, optimizer, inputs, targets):
    loss = criterion(model(inputs.requires_grad_()), targets)
    (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
    return loss.item(), learn(loss + slope.square().sum(), optimizer)[1]


def adversarial(model, criterion, optimizer, inputs, targets):
    given = inputs.clone()
    for _ in range(3):
        given.requires_grad_()
        (slope,) = torch.autograd.grad(criterion(model(given), targets), given)
        given = (given + 0.02 * slope.sign()).detach()
    return learn(criterion(model(given), targets), optimizer)


def backward_into_some(model, criterion, optimizer, inputs, targets):
    optimizer.zero_grad()
    loss = criterion(model(inputs), targets)
    loss.backward(inputs=list(model[0].parameters()))
    return loss.item(), norm_of(optimizer)


def stand_ins(model, criterion, optimizer, inputs, targets):
    halves = {name: p * 0.5 for name, p in model.named_parameters()}
    return learn(criterion(functional_call(model, halves, (inputs,)), targets), optimizer)


def gradients_by_hand(model, criterion, optimizer, inputs, targets):
    loss = criterion(model(inputs), targets)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        parameter.grad = gradient
    return loss.item(), None


def gradients_by_function(model, criterion, optimizer, inputs, targets):
    def loss_of(parameters):
        return criterion(functional_call(model, parameters, (inputs,)), targets)

    gradients, loss = grad_and_value(loss_of)({name: p.detach() for name, p in model.named_parameters()})
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name]
    return loss.item(), None


def gradients_by_sample(model, criterion, optimizer, inputs, targets):
    def loss_of(parameters, one, target):
        return criterion(functional_call(model, parameters, (one[None],)), target[None])

    given = {name: p.detach() for name, p in model.named_parameters()}
    gradients, _ = vmap(grad_and_value(loss_of), (None, 0, 0))(given, inputs, targets)
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name].mean(0)
    return None, None


ACCUMULATING = [
    checkpointed_model,
    checkpointed_reentrant,
    checkpointed_with_its_loss,
    gradient_penalty,
    penalty_on_the_loss,
    adversarial,
    backward_into_some,
    stand_ins,
]
BY_HAND = [gradients_by_hand, gradients_by_function, gradients_by_sample]


def train(step, one=None, *, wrapped=True, epochs=2):
    """Weights at the end, and what each step said: loss and gradient norm."""
    torch.manual_seed(0)
    middle = nn.LayerNorm(16) if step in BY_HAND else nn.BatchNorm1d(16)
    model, criterion = nn.Sequential(nn.Linear(8, 16), middle, nn.ReLU(), nn.Linear(16, 2)), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = loader(two_classes(), shuffle=True)
    if one is not None:
        one.writer.watch(model, optimizer, criterion=criterion)
        batches = one.writer.wrap(batches) if wrapped else batches
    said = []
    for _ in range(epochs):
        for inputs, targets in batches:
            said.append(step(model, criterion, optimizer, inputs, targets))
            optimizer.step()
    return hashlib.sha256(b"".join(t.numpy().tobytes() for t in model.state_dict().values())).hexdigest(), said


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
@pytest.mark.parametrize("step", ACCUMULATING, ids=lambda step: step.__name__)
def test_one_row_a_step_with_the_loss_that_is_trained_on(step, wrapped, recorded):
    plain, one = train(step), recorded()
    watched = train(step, one, wrapped=wrapped)
    assert watched == plain
    losses, norms = np.array(plain[1]).T
    run = one.run()
    np.testing.assert_allclose(run.loss, losses, rtol=1e-6)
    assert (run.float("batch_size") == 20).all()
    if step is not checkpointed_reentrant:  # whose only call with gradients is in the backward
        assert (run.float("train_mode") == 1).all()
    assert (run.float("micro_batches") == 1).all()
    assert (run.float("grads_before_backward")[1:] == 0).all()
    np.testing.assert_allclose(run.float("grad_norm"), norms, rtol=1e-5)
    np.testing.assert_allclose(run.float("grad_norm_at_step"), norms, rtol=1e-5)
    assert run.facts["layers"]["names"] == NAMES


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
@pytest.mark.parametrize("step", BY_HAND, ids=lambda step: step.__name__)
def test_gradients_that_nobody_accumulates_are_not_taken_for_leftovers(step, wrapped, recorded):
    plain, one = train(step), recorded()
    watched = train(step, one, wrapped=wrapped)
    assert watched == plain
    run = one.run()
    assert len(run) == len(plain[1])
    if step is gradients_by_sample:
        assert np.isnan(run.loss).all()  # each call was for all samples at once
    else:
        np.testing.assert_allclose(run.loss, [loss for loss, _ in plain[1]], rtol=1e-6)
    # `.grad` is that of the step before while the gradients are computed
    for name in ("grad_norm", "grads_before_backward"):
        assert np.isnan(run.float(name)).all()
    assert np.isfinite(run.float("grad_norm_at_step")).all()
    assert run.facts["layers"]["names"] == NAMES


def test_the_weights_that_an_epoch_begins_with_are_those_of_the_model_and_not_what_stands_in_for_them(recorded):
    one = recorded()
    train(stand_ins, one)
    run = one.run()
    ends, begins = events(run, "epoch_end"), events(run, "epoch_begin")
    assert ends[0].fields["parameters"] == begins[1].fields["parameters"]
