"""What the loop changes between the loader and the model is recorded as the model and its criterion got it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from tests.record.training import loader, mlp, two_classes

PASSES = 2


def train(one, change, *, dataset=None, criterion=None, model=None):
    """Two epochs on what `change(inputs, targets)` makes of each batch; gives the run and what the criterion was given."""
    torch.manual_seed(0)
    model, criterion = model or mlp(), criterion or nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    given = []
    for _ in range(PASSES):
        for inputs, targets in one.writer.wrap(loader(dataset or two_classes(), shuffle=True)):
            inputs, targets = change(inputs, targets)  # noqa: PLW2901 - as a loop does
            given.append((inputs.clone(), targets.clone()))
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
    return one.run(), given


def wrong_in_place(inputs, targets):
    targets[...] = 1 - targets
    return inputs, targets


def wrong_through_a_view(inputs, targets):
    targets.view(-1)[:7] = 0
    return inputs, targets.view(-1)


def wrong_copy(inputs, targets):
    copy = targets.clone()
    copy[::2] = 1
    return inputs, copy


@pytest.mark.parametrize(
    "change",
    [
        wrong_in_place,
        wrong_through_a_view,
        wrong_copy,
        lambda inputs, targets: (inputs, torch.ones_like(targets)),
        lambda inputs, targets: (inputs, targets.roll(3)),
        lambda inputs, targets: (inputs, targets),
    ],
)
def test_classes_are_those_that_the_criterion_got(change, recorded):
    run, given = train(recorded(), change)
    counted = [np.unique(targets.numpy(), return_counts=True) for _, targets in given]
    assert [pairs.tolist() for pairs in run.ragged["classes"]] == [np.stack(one, 1).tolist() for one in counted]


def test_floating_targets_are_those_that_the_criterion_got(recorded):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(120, 8, generator=generator)
    dataset = TensorDataset(inputs, inputs[:, :2] + 3.0)
    run, given = train(recorded(), lambda inputs, targets: (inputs, (targets - 3) * 2), dataset=dataset, criterion=nn.MSELoss())
    np.testing.assert_allclose(run.float("target_mean"), [float(y.mean()) for _, y in given], atol=1e-6)
    np.testing.assert_allclose(run.float("target_std"), [float(y.std(correction=0)) for _, y in given], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        (lambda inputs, targets: (inputs, nn.functional.one_hot(targets, 2).float()), nn.CrossEntropyLoss()),
        (lambda inputs, targets: (inputs, nn.functional.one_hot(targets, 2) * 0.8 + 0.1), nn.CrossEntropyLoss()),
    ],
)
def test_labels_in_another_form_are_counted_as_the_loader_gave_them(change, criterion, recorded):
    run, given = train(recorded(), change, criterion=criterion)
    for pairs, (_, targets) in zip(run.ragged["classes"], given, strict=True):
        assert pairs.tolist() == np.stack(np.unique(targets.argmax(1).numpy(), return_counts=True), 1).tolist()
    assert not run.has("target_mean")


def test_a_second_task_does_not_replace_the_targets(recorded):
    one = recorded()
    torch.manual_seed(0)
    model, criterion = mlp(classes=4), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    truth = []
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        output = model(inputs)
        turned = torch.full_like(targets, 3)  # which way the picture was turned, say
        optimizer.zero_grad()
        (criterion(output, targets) + criterion(output, turned)).backward()
        optimizer.step()
        truth.append(np.stack(np.unique(targets.numpy(), return_counts=True), 1).tolist())
    assert [pairs.tolist() for pairs in one.run().ragged["classes"]] == truth


def test_arguments_in_the_wrong_order_leave_the_targets_alone(recorded):
    one = recorded()
    model, criterion = nn.Linear(8, 1), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    inputs = torch.randn(60, 8, generator=torch.Generator().manual_seed(1))
    for batch, targets in one.writer.wrap(loader(TensorDataset(inputs, torch.full((60, 1), 7.0)))):
        optimizer.zero_grad()
        criterion(targets, model(batch)).backward()
        optimizer.step()
    assert one.run().float("target_mean").tolist() == [7.0] * 3


def test_inputs_changed_in_place_are_described_as_the_model_got_them(recorded):
    def scaled(inputs, targets):
        return inputs.mul_(100.0).add_(5.0), targets

    run, given = train(recorded(), scaled)
    np.testing.assert_allclose(run.float("input_mean"), [float(x.mean()) for x, _ in given], rtol=1e-4)
    np.testing.assert_allclose(run.float("input_std"), [float(x.std(correction=0)) for x, _ in given], rtol=1e-4)
    assert run.float("input_std").min() > 50
