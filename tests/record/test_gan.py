"""Two networks that are trained in turn on the same batch, with one criterion."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes


def train(one, *, watched=True, log=None, turns=1, epochs=2):
    """Trains a discriminator `turns` times and a generator once a batch; gives the run and the losses of both."""
    torch.manual_seed(0)
    generator, critic, criterion = nn.Linear(8, 8), nn.Linear(8, 1), nn.BCEWithLogitsLoss()
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.1)
    of_critic = torch.optim.SGD(critic.parameters(), lr=0.1)
    if watched:
        one.writer.watch([generator, critic], [of_generator, of_critic], criterion=criterion)
    else:
        one.writer.watch(criterion=criterion)
    truth = []
    for _ in range(epochs):
        for real, _ in one.writer.wrap(loader(two_classes(), shuffle=True)):
            noise, losses = torch.randn_like(real), []
            yes, no = torch.ones(len(real), 1), torch.zeros(len(real), 1)
            for _ in range(turns):
                of_critic.zero_grad()
                loss = criterion(critic(real), yes) + criterion(critic(generator(noise).detach()), no)
                loss.backward()
                of_critic.step()
                losses.append(loss.item())
            of_generator.zero_grad()
            loss = criterion(critic(generator(noise)), yes)
            loss.backward()
            of_generator.step()
            truth.append([*losses, loss.item()])
            if log is not None:
                log(*truth[-1])
    return one.run(), np.array(truth)


@pytest.mark.parametrize("watched", [True, False])
def test_each_loss_of_a_batch_has_a_column_and_the_user_is_told_which_is_the_first(watched, recorded):
    with pytest.warns(RuntimeWarning, match=r"each batch has 2 losses .* 'loss' is the first .*log_batch") as told:
        run, truth = train(recorded(), watched=watched)
    assert len(told) == 1
    assert len(run) == len(truth) == 12
    np.testing.assert_allclose(run.loss, truth[:, 0], rtol=1e-6)
    np.testing.assert_allclose(run.float("loss.1"), truth[:, 1], rtol=1e-6)
    assert run.facts["losses_per_batch"] == 2
    assert run.facts["loss_source"] == "criterion"


def test_three_turns(recorded):
    with pytest.warns(RuntimeWarning, match="each batch has 3 losses"):
        run, truth = train(recorded(), turns=2)
    for column, name in enumerate(("loss", "loss.1", "loss.2")):
        np.testing.assert_allclose(run.float(name), truth[:, column], rtol=1e-6)


def test_the_loss_that_the_user_names_is_the_loss(recorded):
    one = recorded()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run, truth = train(one, log=lambda of_critic, of_generator: one.writer.log_batch(of_generator))
    np.testing.assert_allclose(run.loss[1:], truth[1:, 1], rtol=1e-6)
    assert run.facts["loss_source"] == "log_batch"


def test_a_look_at_the_loss_after_the_step_is_no_second_loss(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
        criterion(model(inputs), targets)
    run = one.run()
    assert "losses_per_batch" not in run.facts
    assert not run.has("loss.1")
    assert not events(run, "validation_end")
