"""Answers whether the norm at the step is that of the gradients as they are then, and read once if nobody changed them."""

import math

import pytest
import torch
from torch import nn

from tb_losslens.record import gradient_norms
from tb_losslens.record.gradient_norms import GradientNorms


def trained():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 10))
    model(torch.randn(16, 512)).square().mean().backward()
    gradients = [p.grad for p in model.parameters()]
    norms = GradientNorms()
    total = norms.total(gradients)
    norms.settle(gradients)
    return model, gradients, norms, total


def exact(gradients):
    return math.sqrt(sum(g.double().square().sum().item() for g in gradients))


def clip_norm(model):
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)


def clip_value(model):
    nn.utils.clip_grad_value_(model.parameters(), 1e-6)


def past_the_version(model):
    for p in model.parameters():
        p.grad.data.clamp_(-1e-6, 1e-6)


def anew(model):
    for p in model.parameters():
        p.grad = p.grad * 2


def storage(model):
    for p in model.parameters():
        p.grad.data = p.grad * 3


def one_cleared(model):
    model[2].weight.grad = None


@pytest.mark.parametrize("change", [clip_norm, clip_value, past_the_version, anew, storage, one_cleared])
def test_a_change_between_backward_and_step_is_seen(change):
    model, _, norms, total = trained()
    change(model)
    now = [p.grad for p in model.parameters() if p.grad is not None]
    assert norms.at_step(now) == pytest.approx(exact(now), rel=1e-3)
    assert norms.at_step(now) != pytest.approx(total, rel=0.1)


def test_unchanged_gradients_are_read_once(monkeypatch):
    _, gradients, norms, total = trained()
    monkeypatch.setattr(gradient_norms, "total_norm", lambda _: pytest.fail("they were read again"))
    monkeypatch.setattr(gradient_norms, "norms_of", lambda g: pytest.fail("they were read again") if g else [])
    assert norms.at_step(gradients) == total


def test_another_set_of_gradients_is_read():
    _, gradients, norms, _ = trained()
    assert norms.at_step(gradients[:2]) == pytest.approx(exact(gradients[:2]), rel=1e-3)


def test_what_is_not_a_number_is_read_again():
    model, gradients, norms, _ = trained()
    with torch.no_grad():
        gradients[0][0, 0] = math.nan
    norms.forget()
    norms.total(gradients)
    norms.settle(gradients)
    assert math.isnan(norms.at_step([p.grad for p in model.parameters()]))
