"""The losses of held-out batches where the training loss is a function that was only logged."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens.record.signals import held_out_loss
from tests.record.training import mlp, two_classes


def train(one, *, loss_of=F.cross_entropy, held_out_of=None, calls=1, log=True, details=False, epochs=3, criterion=None):
    """The run of a plain training, and what its held-out losses were: one list a validation, batches of 16, 16 and 8."""
    torch.manual_seed(0)
    model, writer, kept, step = mlp(), one.writer, [], 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    writer.watch(model, optimizer, criterion=criterion)
    loader = writer.wrap(DataLoader(two_classes(), 20, shuffle=True))
    held_out = writer.wrap(DataLoader(two_classes(40, seed=1), 16), split="val")
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            loss = loss_of(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            writer.add_scalar("Loss/train", loss.item(), step)
            step += 1
        model.eval()
        losses = []
        with torch.no_grad():
            for x, y in held_out:
                for _ in range(calls):
                    output = model(x)
                losses.append((held_out_of or loss_of)(output, y).item())
        kept.append(losses)
        if details:
            writer.log_validation(1.0, epoch=epoch, batch_losses=[7.0, 8.0, 9.0], batch_sizes=[1, 1, 1])
        elif log:
            writer.add_scalar("Loss/val", float(np.average(losses, weights=[16, 16, 8])), epoch)
    return one.run(), kept


def test_they_stand_beside_the_logged_value(recorded):
    run, kept = train(recorded())
    assert len(run.validations) == 3
    for validation, losses in zip(run.validations, kept, strict=True):
        assert np.allclose(validation.fields["batch_losses"], losses, rtol=1e-5)
        assert validation.fields["batch_sizes"] == [16, 16, 8]
        assert validation.fields["computed"] == pytest.approx(validation.value, rel=1e-5)
        assert validation.fields["source"] == "scalar:Loss/val"


def test_they_are_those_of_a_watched_criterion(recorded):
    criterion = nn.CrossEntropyLoss()
    watched, _ = train(recorded(), loss_of=criterion, criterion=criterion)
    run, _ = train(recorded())
    for one, other in zip(run.validations, watched.validations, strict=True):
        assert one.fields.keys() == other.fields.keys()
        assert np.allclose(one.fields["batch_losses"], other.fields["batch_losses"], rtol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"calls": 2},  # of which one nobody knows
        {"log": False},  # there is no value to stand beside, and none is made up
        {"loss_of": lambda output, y: F.cross_entropy(output, y) + 0.1 * output.square().mean()},
        {"loss_of": lambda output, y: F.cross_entropy(output, y, reduction="sum")},
    ],
    ids=["calls", "log", "terms", "sum"],
)
def test_nothing_is_computed_or_kept(recorded, how):
    run, _ = train(recorded(), **how)
    for validation in run.validations:
        assert not {"computed", "batch_losses", "batch_sizes"} & validation.fields.keys()
        assert np.isnan(validation.value) or how.get("log", True)


def test_another_function_of_the_held_out_loss_is_not_taken_for_it(recorded):
    run, kept = train(recorded(), held_out_of=lambda output, y: (output.argmax(1) != y).float().mean())
    last = run.validations[-1]
    assert last.value == pytest.approx(np.average(kept[-1], weights=[16, 16, 8]))
    assert abs(last.fields["computed"] - last.value) > 0.05


def test_losses_that_the_user_gives_stay(recorded):
    run, _ = train(recorded(), details=True)
    assert run.validations[-1].value == 1.0
    assert run.validations[-1].fields["batch_losses"] == [7.0, 8.0, 9.0]


def test_no_more_is_spent_than_is_granted(recorded, monkeypatch):
    monkeypatch.setattr(held_out_loss, "SHARE", 0.0)
    monkeypatch.setattr(held_out_loss, "GRANT", 1e-9)
    run, _ = train(recorded(), epochs=4)
    assert not any("computed" in validation.fields for validation in run.validations)

    clock = iter(range(1000))
    monkeypatch.setattr(held_out_loss, "thread_time", lambda: next(clock))
    monkeypatch.setattr(held_out_loss, "GRANT", 7.5)  # a batch takes one second
    run, _ = train(recorded(), epochs=4)
    assert ["computed" in validation.fields for validation in run.validations] == [True, True, False, False]


def test_a_loader_without_targets(recorded):
    torch.manual_seed(0)
    one, model = recorded(), mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer)
    loader = one.writer.wrap(DataLoader(two_classes(), 20))
    held_out = one.writer.wrap(DataLoader(TensorDataset(torch.randn(40, 8)), 16), split="val")
    for epoch in range(2):
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            one.writer.log_batch(loss)
        with torch.no_grad():
            value = sum(model(x).square().mean().item() for (x,) in held_out)
        one.writer.add_scalar("Loss/val", value, epoch)
    assert not any("computed" in validation.fields for validation in one.run().validations)
