"""Validations: where they begin, where they end, and whose value they get."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes


class Training:
    """Two epochs over 6 batches; `validate(model, criterion, epoch)` after each."""

    def __init__(self, one, validate, *, model=None, watch=True):
        torch.manual_seed(0)
        model, criterion = model or mlp(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        if watch:
            one.writer.watch(model, optimizer, criterion=criterion)
        wrapped = one.writer.wrap(loader(two_classes(), shuffle=True))
        for epoch in range(2):
            model.train()
            for inputs, targets in wrapped:
                optimizer.zero_grad()
                criterion(model(inputs), targets).backward()
                optimizer.step()
            validate(model, criterion, epoch)
        self.run = one.run()


def evaluate(model, criterion, batches):
    model.eval()
    with torch.no_grad():
        losses = [(criterion(model(inputs), targets).item(), len(inputs)) for inputs, targets in batches]
    return sum(loss * size for loss, size in losses) / sum(size for _, size in losses), losses


def test_the_mean_of_the_criterion_weighted_by_size(recorded):
    one, truth = recorded(), []
    held_out = one.writer.wrap(loader(two_classes(70, seed=1), 32), split="val")
    run = Training(one, lambda model, criterion, epoch: truth.append(evaluate(model, criterion, held_out))).run
    assert [validation.value for validation in run.validations] == pytest.approx([value for value, _ in truth])
    assert [validation.epoch for validation in run.validations] == [0, 1]
    assert [validation.batch for validation in run.validations] == [6, 12]
    fields = run.validations[1].fields
    assert fields["batch_losses"] == pytest.approx([loss for loss, _ in truth[1][1]])
    assert fields["batch_sizes"] == [32, 32, 6]
    assert (fields["n"], fields["batches"], fields["source"], fields["train_mode"]) == (70, 3, "criterion", 0.0)
    inputs = two_classes(70, seed=1).tensors[0]
    assert fields["input_mean"] == pytest.approx(inputs.mean().item(), abs=1e-6)
    assert fields["input_std"] == pytest.approx(inputs.std(correction=0).item(), rel=1e-5)
    assert len(events(run, "validation_begin")) == 2
    assert len(run) == 12


def test_the_users_scalar_is_the_value_and_the_computed_one_stands_beside_it(recorded):
    one = recorded()
    held_out = one.writer.wrap(loader(two_classes(70, seed=1), 32), split="val")

    def validate(model, criterion, epoch):
        _, losses = evaluate(model, criterion, held_out)
        one.writer.add_scalar("Loss/val", sum(loss for loss, _ in losses) / len(losses), epoch)

    run = Training(one, validate).run
    for validation in run.validations:
        assert validation.fields["source"] == "scalar:Loss/val"
        assert validation.value == pytest.approx(sum(validation.fields["batch_losses"]) / 3)
        assert validation.fields["computed"] != validation.value


def test_log_validation_comes_first(recorded):
    one = recorded()

    def validate(model, criterion, epoch):
        with one.writer.validation():
            evaluate(model, criterion, loader(two_classes(40)))
        one.writer.log_validation(
            0.25 + epoch, step=77, epoch=5 + epoch, batch_losses=[0.5, torch.tensor(0.25)], batch_sizes=[3, 1]
        )
        one.writer.add_scalar("val_loss", 9.0, epoch)

    run = Training(one, validate).run
    assert [(v.value, v.step, v.epoch) for v in run.validations] == [(0.25, 77, 5), (1.25, 77, 6)]
    assert run.validations[0].fields["batch_losses"] == [0.5, 0.25]
    assert run.validations[0].fields["batch_sizes"] == [3, 1]


def test_a_loop_over_a_loader_that_nobody_wrapped(recorded):
    one, truth = recorded(), []
    run = Training(one, lambda model, criterion, epoch: truth.append(evaluate(model, criterion, loader(two_classes(40))))).run
    assert [validation.value for validation in run.validations] == pytest.approx([value for value, _ in truth])


def test_in_the_middle_of_an_epoch(recorded):
    one = recorded()
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    one.writer.watch(model, optimizer, criterion=criterion)
    held_out = one.writer.wrap(loader(two_classes(40, seed=1)), split="val")
    losses = []
    for position, (inputs, targets) in enumerate(one.writer.wrap(loader(two_classes(), shuffle=True))):
        model.train()
        loss = criterion(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if position in (2, 4):
            evaluate(model, criterion, held_out)
        one.writer.add_scalar("Loss/train", loss.item(), position)
        losses.append(loss.item())
    run = one.run()
    assert run.loss.tolist() == losses
    assert (run.float("train_mode") == 1).all()
    assert [validation.batch for validation in run.validations] == [3, 5]
    assert len(run.epochs) == 1


def test_a_scalar_of_each_batch_of_a_validation(recorded):
    one = recorded()
    for _ in one.writer.wrap(loader(two_classes())):
        one.writer.log_batch(1.0)
    for position, _ in enumerate(one.writer.wrap(loader(two_classes(60)), split="val")):
        one.writer.add_scalar("val_loss", float(position), position)
    run = one.run()
    assert [validation.value for validation in run.validations] == [1.0]


def test_a_scalar_after_a_validation_in_the_middle_belongs_to_the_batch_before_it(recorded):
    one = recorded()
    held_out = one.writer.wrap(loader(two_classes(40, seed=1)), split="val")
    for position, _ in enumerate(one.writer.wrap(loader(two_classes()))):
        if position == 3:
            list(held_out)
            one.writer.add_scalar("Loss/val", 0.5, position)
        one.writer.add_scalar("Loss/train", float(position), position)
    run = one.run()
    assert run.loss.tolist() == [0, 1, 2, 3, 4, 5]
    assert [(validation.value, validation.batch) for validation in run.validations] == [(0.5, 3)]


def test_batch_norm_in_the_wrong_mode_is_in_the_record(recorded):
    def net():
        return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

    def wrong(model, criterion, epoch):
        with torch.no_grad():
            for inputs, targets in held_out:
                criterion(model(inputs), targets)

    one = recorded()
    held_out = one.writer.wrap(loader(two_classes(40, seed=1)), split="val")
    run = Training(one, wrong, model=net()).run
    assert [(v.fields["train_mode"], v.fields["bn_updates"]) for v in run.validations] == [(1.0, 2), (1.0, 2)]
    assert run.float("bn_updates").tolist() == [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14]
    one = recorded()
    held_out = one.writer.wrap(loader(two_classes(40, seed=1)), split="val")
    run = Training(one, lambda model, criterion, epoch: evaluate(model, criterion, held_out), model=net()).run
    assert [(v.fields["train_mode"], v.fields["bn_updates"]) for v in run.validations] == [(0.0, 0), (0.0, 0)]


def test_a_training_loop_in_eval_mode(recorded):
    one = recorded()
    model, criterion = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), nn.CrossEntropyLoss()
    one.writer.watch(model, criterion=criterion)
    for position, (inputs, targets) in enumerate(one.writer.wrap(loader(two_classes()))):
        model.train(position < 2)
        if position == 4:
            model[0].train()
        criterion(model(inputs), targets).backward()
    run = one.run()
    assert run.float("train_mode").tolist() == [1, 1, 0, 0, 0.5, 0]
    assert run.float("bn_updates").tolist() == [1, 2, 2, 2, 2, 2]


def test_a_validation_without_a_value_and_one_broken_out_of(recorded):
    one = recorded()
    held_out = one.writer.wrap(loader(two_classes(80)), split="val")

    def validate(model, criterion, epoch):
        for _ in held_out:
            if epoch:
                break

    run = Training(one, validate).run
    assert run.validations == ()
    assert [event.fields["batches"] for event in events(run, "validation_end")] == [4, 1]


def test_two_validations_after_another(recorded):
    one, truth = recorded(), []
    first = one.writer.wrap(loader(two_classes(40, seed=1)), split="val")
    second = one.writer.wrap(loader(two_classes(60, seed=2)), split="val")

    def validate(model, criterion, epoch):
        truth.append(evaluate(model, criterion, first)[0])
        truth.append(evaluate(model, criterion, second)[0])

    run = Training(one, validate).run
    assert [validation.value for validation in run.validations] == pytest.approx(truth)
    assert [validation.fields["n"] for validation in run.validations] == [40, 60, 40, 60]


def test_values_only(recorded):
    one = recorded()
    for epoch in range(3):
        one.writer.start_epoch(epoch)
        for _ in range(4):
            one.writer.log_batch(1.0)
        one.writer.log_validation(torch.tensor(0.5 - 0.1 * epoch))
    run = one.run()
    assert [validation.value for validation in run.validations] == pytest.approx([0.5, 0.4, 0.3])
    assert [validation.batch for validation in run.validations] == [4, 8, 12]
    assert [validation.epoch for validation in run.validations] == [0, 1, 2]


def test_an_error_inside_the_block_is_the_users(recorded):
    one = recorded()
    with pytest.raises(KeyError), one.writer.validation():
        raise KeyError
    one.writer.log_batch(1.0)
    assert len(one.run()) == 1


@pytest.mark.parametrize("logs", [False, True])
def test_a_validation_in_the_middle_of_an_epoch_without_a_word(logs, recorded):
    one = recorded()
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    held_out, losses, truth = loader(two_classes(50, seed=5)), [], []
    for _ in range(2):
        for position, (inputs, targets) in enumerate(one.writer.wrap(loader(two_classes()))):
            model.train()
            loss = criterion(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if position % 3 == 2:
                model.eval()
                with torch.no_grad():
                    found = [(criterion(model(x), y).item(), len(y)) for x, y in held_out]
                truth.append(sum(value * size for value, size in found) / 50)
                if logs:
                    one.writer.add_scalar("Loss/val", truth[-1], len(losses))
    run = one.run()
    assert run.loss.tolist() == losses
    assert [(validation.batch, validation.epoch) for validation in run.validations] == [(3, 0), (6, 0), (9, 1), (12, 1)]
    np.testing.assert_allclose([validation.value for validation in run.validations], truth, rtol=1e-6)
    assert {validation.fields["train_mode"] for validation in run.validations} == {0}
    assert {validation.fields["n"] for validation in run.validations} == {50}
    assert {validation.fields["source"] for validation in run.validations} == {"scalar:Loss/val" if logs else "criterion"}


@pytest.mark.parametrize(
    "look",
    [
        lambda model, criterion, x, y, copy: criterion(model(x), y),  # at the batch itself
        lambda model, criterion, x, y, copy: criterion(model(copy), y),  # at what it was trained on
        lambda model, criterion, x, y, copy: model(torch.randn(3, 8)),  # a sample to draw
        lambda model, criterion, x, y, copy: (model(torch.randn(3, 8)), criterion(model(x), y)),  # both
        lambda model, criterion, x, y, copy: (model.train(), criterion(model(torch.randn(20, 8)), y)),  # in training mode
    ],
)
def test_a_look_at_something_in_the_training_loop_is_no_validation(look, recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    losses = []
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        model.train()
        copy = inputs * 2
        loss = criterion(model(copy), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            look(model, criterion, inputs, targets, copy)
    run = one.run()
    assert run.loss.tolist() == losses
    assert run.validations == ()
