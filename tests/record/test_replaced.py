"""A model and its optimiser that were built again, with and without a word of the user's, and what only looks like it."""

import copy
import gc

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.cadences import Cadences
from tb_losslens.record.replaced import AFTER, model_of
from tests.record.training import events, loader, mlp, two_classes

BATCHES = 24


class Twice:
    """Trains three epochs; from the second on with a model and an optimiser that were built again."""

    def __init__(self, one, build, *, say=lambda writer, model, optimizer: None):
        torch.manual_seed(0)
        criterion, model = nn.CrossEntropyLoss(), mlp()
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        one.writer.watch(model, optimizer, criterion=criterion)
        self.losses, self.norms, self.weights = [], [], []
        batches = one.writer.wrap(loader(two_classes(), 5, shuffle=True))
        for epoch in range(3):
            if epoch == 1:
                model, optimizer = build(model)
                say(one.writer, model, optimizer)
            for inputs, targets in batches:
                loss = criterion(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                self.losses.append(loss.item())
                self.norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())
                self.weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]).norm().item())
                optimizer.step()
        self.run = one.run()


def copied(model):
    model = copy.deepcopy(model)
    return model, torch.optim.SGD(model.parameters(), 0.05)


def another(_):
    model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2))
    return model, torch.optim.Adam(model.parameters(), 0.05)


@pytest.mark.parametrize("build", [copied, another])
def test_a_word_of_the_users_ends_what_was_recorded_of_the_old_ones(build, recorded):
    done = Twice(recorded(), build, say=lambda writer, model, optimizer: writer.watch(model, optimizer))
    run = done.run
    np.testing.assert_allclose(run.loss, done.losses, rtol=1e-6)
    if build is copied:  # a model of another class, of which none of the old parameters is, may be a second one
        np.testing.assert_allclose(run.float("grad_norm"), done.norms, rtol=1e-4)
        np.testing.assert_allclose(run.float("weight_norm"), done.weights, rtol=1e-4)
        assert not run.has("lr.1")
        np.testing.assert_allclose(run.float("lr"), [0.1] * BATCHES + [0.05] * 2 * BATCHES)
        assert [event.batch for event in events(run, "config_change") if "optimizer" in event.fields] == [BATCHES]
    assert [event.batch for event in events(run, "config_change") if "model" in event.fields] == [BATCHES]


@pytest.mark.parametrize("build", [copied, another])
def test_without_a_word_it_is_noticed_and_noted(build, recorded):
    done = Twice(recorded(), build)
    run = done.run
    np.testing.assert_allclose(run.loss, done.losses, rtol=1e-6)
    changes = events(run, "config_change")
    for what in ("model", "optimizer"):
        (at,) = [event.batch for event in changes if what in event.fields]
        assert BATCHES + 4 <= at <= BATCHES + AFTER
    assert run.facts["model"]["class"] == "Sequential"
    assert run.facts["optimizer"]["class"] == ("SGD" if build is copied else "Adam")
    np.testing.assert_allclose(run.float("grad_norm")[at + 1 :], done.norms[at + 1 :], rtol=1e-4)
    np.testing.assert_allclose(run.float("lr")[at + 1 :], 0.05)
    # until then nothing is known of its gradients, and what stood in those of the old model is not told again
    between = run.float("grad_norm")[BATCHES:at]
    np.testing.assert_array_equal(between, np.full(len(between), np.nan))
    assert np.isfinite(run.float("update_ratio")[at + 1 :]).all()


@pytest.mark.parametrize("turns", [1, 20])
def test_a_critic_that_nobody_watches_takes_no_ones_place(turns, recorded):
    torch.manual_seed(0)
    one, generator, critic = recorded(), nn.Linear(8, 8), nn.Linear(8, 1)
    criterion = nn.BCEWithLogitsLoss()
    of_generator = torch.optim.SGD(generator.parameters(), 0.1)
    of_critic = torch.optim.SGD(critic.parameters(), 0.2)
    one.writer.watch(generator, of_generator)
    for _ in range(2):
        for number, (real, _) in enumerate(one.writer.wrap(loader(two_classes(), 2, shuffle=True))):
            with torch.no_grad():
                fake = generator(torch.randn_like(real))
            loss = criterion(critic(real), torch.ones(len(real), 1)) + criterion(critic(fake), torch.zeros(len(real), 1))
            of_critic.zero_grad()
            loss.backward()
            of_critic.step()
            if number % turns == 0:
                of_generator.zero_grad()
                criterion(critic(generator(torch.randn_like(real))), torch.ones(len(real), 1)).backward()
                of_generator.step()
            one.writer.log_batch(loss.detach())
    run = one.run()
    assert not events(run, "config_change")
    np.testing.assert_allclose(run.float("lr"), 0.1, rtol=1e-6)


def test_the_model_of_an_optimizer_is_the_smallest_that_has_all_of_it_and_the_outermost():
    class Outer(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

    model = mlp()
    outer = Outer(model)
    whole = nn.ModuleList([outer, nn.Linear(3, 3)])
    assert model_of(torch.optim.SGD(model.parameters(), 0.1)) is outer
    assert model_of(torch.optim.SGD(model[0].parameters(), 0.1)) is model[0]
    assert model_of(torch.optim.SGD(whole.parameters(), 0.1)) is whole
    assert model_of(torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1)) is None
    del outer, whole
    gc.collect()
    assert model_of(torch.optim.SGD(model.parameters(), 0.1)) is model
    assert model_of(torch.optim.SGD(model.parameters(), 0.1), [model]) is None


def test_plain_steps_that_are_not_told_one_by_one_are_no_reason_to_look(recorded, monkeypatch):
    monkeypatch.setattr(Cadences, "next", lambda cadences, index, length: SPARSE)
    looked = []
    monkeypatch.setattr("tb_losslens.record.replaced.gc.get_objects", lambda: looked.append(True) or [])
    torch.manual_seed(0)
    one, model, criterion = recorded(), mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    for _ in range(3):
        for inputs, targets in one.writer.wrap(loader(two_classes(), 5, shuffle=True)):
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
    assert len(one.run()) == 3 * BATCHES
    assert not looked
