"""A training that goes on with a loader that is not wrapped, and steps outside of the loop that are a part of an epoch."""

import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes

BATCHES = 12


def train(one, *, beside=0, epochs=3, unwrapped_from=99):
    """Trains; `beside` is how many steps are made after the loop of each epoch."""
    torch.manual_seed(0)
    model, criterion, data = mlp(), nn.CrossEntropyLoss(), two_classes()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    batches = one.writer.wrap(loader(data, 10, shuffle=True))

    def step(inputs, targets):
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()

    for epoch in range(epochs):
        for inputs, targets in batches if epoch < unwrapped_from else loader(data, 10):
            step(inputs, targets)
        for _ in range(beside):
            step(*data[:10])
    return one.run()


def test_a_loader_that_is_not_wrapped_is_noted_once(recorded):
    with pytest.warns(RuntimeWarning, match="12 steps were made after epoch 1 .* wrap it") as told:
        run = train(recorded(), epochs=5, unwrapped_from=2)
    assert len(told) == 1
    (note,) = events(run, "note")
    assert (note.batch, note.fields["steps"], note.fields["epoch"]) == (2 * BATCHES, BATCHES, 1)
    assert len(run) == 2 * BATCHES


@pytest.mark.parametrize("beside", [0, 1, BATCHES - 1])
def test_a_few_steps_after_the_loop_of_an_epoch_are_a_part_of_it(beside, recorded):
    run = train(recorded(), beside=beside)
    assert not events(run, "note")
    assert len(run) == 3 * BATCHES
    assert events(run, "epoch_end")[2].fields.get("steps_outside", 0) == 2 * beside
