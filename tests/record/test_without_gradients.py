"""Calls without gradients: a validation where a loss is computed or logged, else samples, labels or statistics."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tb_losslens.analysis.causes import wrong_mode
from tests.analysis.contexts import findings
from tests.record.training import events, loader, two_classes


def net():
    return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 2))


def train(one, after, *, watched=True):
    """Three epochs of six batches; `after(model, criterion, epoch)` follows each, without gradients."""
    torch.manual_seed(0)
    model, criterion = net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion if watched else None)
    wrapped, step = one.writer.wrap(loader(two_classes(), shuffle=True)), 0
    for epoch in range(3):
        model.train()
        for inputs, targets in wrapped:
            loss = criterion(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            one.writer.add_scalar("Loss/train", loss.item(), step)
            step += 1
        with torch.no_grad():
            after(model, criterion, epoch)
    return one.run()


def in_train(run):
    return [finding for finding in findings(wrong_mode, run) if finding.detail == "validation_in_train"]


def mean_loss(model, criterion, batches):
    return sum(criterion(model(inputs), targets).item() for inputs, targets in batches) / len(batches)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model(torch.randn(16, 8)),  # samples to look at
        lambda model: [model(inputs).argmax(1) for inputs, _ in loader(two_classes(60))],  # labels, or a rollout
    ],
)
def test_a_call_in_training_mode_without_a_loss_is_no_validation(call, recorded):
    run = train(recorded(), lambda model, _, epoch: call(model))
    assert run.validations == ()
    assert [event.fields["implicit"] for event in events(run, "validation_end")] == [True] * 3
    assert not any(event.ends_validation for event in run.events)
    assert in_train(run) == []


def test_a_dry_run_before_the_training(recorded):
    one = recorded()
    model, criterion = net(), nn.CrossEntropyLoss()
    one.writer.watch(model, criterion=criterion)
    with torch.no_grad():
        model(torch.zeros(2, 8))
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        criterion(model(inputs), targets).backward()
    assert in_train(one.run()) == []


def test_a_loss_that_the_criterion_computes_is_one(recorded):
    """The near miss: the same calls, and the loss of each."""
    run = train(recorded(), lambda model, criterion, epoch: mean_loss(model, criterion, loader(two_classes(60))))
    (finding,) = in_train(run)
    assert (finding.kind, finding.strength) == ("fault", "proved")
    assert finding.text.startswith("3 of 3 validations")


def test_a_loss_that_is_only_logged_is_one(recorded):
    one = recorded()

    def after(model, _, epoch):
        value = mean_loss(model, functional.cross_entropy, loader(two_classes(60)))
        one.writer.add_scalar("Loss/val", value, epoch)

    run = train(one, after, watched=False)
    assert len(run.validations) == 3
    (finding,) = in_train(run)
    assert finding.text.startswith("3 of 3 validations")


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("watched", [True, False])
def test_statistics_that_are_estimated_anew_before_a_validation_are_not_of_it(wrapped, watched, recorded):
    one = recorded()
    held_out = loader(two_classes(60, seed=1))
    held_out = one.writer.wrap(held_out, split="val") if wrapped else held_out

    def after(model, criterion, epoch):
        for inputs, _ in loader(two_classes()):
            model(inputs)
        model.eval()
        value = mean_loss(model, criterion if watched else functional.cross_entropy, held_out)
        one.writer.add_scalar("Loss/val", value, epoch)

    run = train(one, after, watched=watched)
    assert [(v.fields["train_mode"], v.fields["bn_updates"]) for v in run.validations] == [(0.0, 0)] * 3
    assert in_train(run) == []


def test_statistics_that_are_estimated_anew_after_a_validation_prove_nothing(recorded):
    def after(model, criterion, epoch):
        model.eval()
        mean_loss(model, criterion, loader(two_classes(60, seed=1)))
        model.train()
        for inputs, _ in loader(two_classes()):
            model(inputs)

    run = train(recorded(), after)
    assert len(run.validations) == 3
    assert in_train(run) == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_validation_in_training_mode_is_proved_after_a_drawing_in_evaluation_mode(announced, recorded):
    one = recorded()
    held_out = loader(two_classes(60, seed=1))
    held_out = one.writer.wrap(held_out, split="val") if announced else held_out

    def after(model, criterion, epoch):
        model.eval()
        model(torch.randn(4, 8))
        model.train()
        mean_loss(model, criterion, held_out)

    run = train(one, after)
    assert [(v.fields["train_mode"], v.fields["bn_updates"]) for v in run.validations] == [(1.0, 3)] * 3
    assert in_train(run)[0].text.startswith("3 of 3 validations")
