import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tb_losslens.record.batch import CLASSES
from tb_losslens.record.signals.class_losses import class_losses
from tests.record.training import Indexed, mlp


def slowly(losses, labels):
    """Sums by class, one sample after the other."""
    found = {}
    for loss, label in zip(losses.tolist(), labels.tolist(), strict=True):
        if label >= 0:
            count, total = found.get(label, (0, 0.0))
            found[label] = count + 1, total + loss
    return [[label, *found[label]] for label in sorted(found)]


def test_sums_by_class_leave_ignored_labels_out():
    generator = np.random.default_rng(0)
    losses, labels = generator.exponential(size=50).astype(np.float32), generator.integers(-1, 4, 50)
    np.testing.assert_allclose(class_losses(losses, labels), slowly(losses, labels), rtol=1e-6)
    assert class_losses(np.ones(3, np.float32), np.full(3, -100)).shape == (0, 3)


def test_of_many_classes_those_with_most_samples_are_kept():
    labels = np.concatenate([np.arange(100), np.repeat([7, 70, 99], 3)])
    found = class_losses(np.ones(len(labels), np.float32), labels)
    assert len(found) == CLASSES
    assert found[found[:, 1] == 4, 0].tolist() == [7, 70, 99]
    assert (found[:, 1] == found[:, 2]).all()


@pytest.mark.parametrize("way", ["none", "mean", "near"])
def test_in_a_training_against_its_own_losses(way, recorded):
    torch.manual_seed(0)
    one, model, criterion = recorded(), mlp(3, 3), nn.CrossEntropyLoss(reduction="none" if way == "none" else "mean")
    if way == "near":  # a loss that is no function of single samples which is known
        criterion = nn.MultiMarginLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    sums, worst = [], []
    for _ in range(2):
        for inputs, targets, ids in one.writer.wrap(DataLoader(Indexed(40), 8, shuffle=True)):
            output = model(inputs)
            losses = nn.functional.cross_entropy(output.detach(), targets, reduction="none")
            optimizer.zero_grad()
            criterion(output, targets).mean().backward()
            optimizer.step()
            sums.append(slowly(losses, targets))
            worst.append((losses.max().item(), ids[losses.argmax()].item()))
    run = one.run()
    assert len(run) == 10
    if way == "near":
        assert "class_losses" not in run.ragged
        assert "sample_loss_max" not in run.columns
        return
    known = np.flatnonzero(np.isfinite(run.float("sample_loss_max")))
    assert len(known) == 10 if way == "none" else len(known) >= 2  # the identity is looked for in some of the rows
    for row in known:
        np.testing.assert_allclose(np.reshape(run.ragged["class_losses"][row], (-1, 3)), sums[row], rtol=1e-4)
        assert run.float("sample_loss_max")[row] == pytest.approx(worst[row][0], rel=1e-5)
        assert run.float("sample_loss_max_id")[row] == worst[row][1]


def test_of_micro_batches_the_first_one_is_told(recorded):
    torch.manual_seed(0)
    one, model, criterion = recorded(), mlp(3, 3), nn.CrossEntropyLoss(reduction="none")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    sums = []
    for inputs, targets, _ in one.writer.wrap(DataLoader(Indexed(40), 8, shuffle=True)):
        optimizer.zero_grad()
        for part, goal in zip(inputs.chunk(2), targets.chunk(2), strict=True):
            losses = criterion(model(part), goal)
            losses.mean().backward()
            if part.data_ptr() == inputs.data_ptr():
                sums.append(slowly(losses, goal))
        optimizer.step()
    run = one.run()
    for row, truth in enumerate(sums):
        np.testing.assert_allclose(np.reshape(run.ragged["class_losses"][row], (-1, 3)), truth, rtol=1e-5)
    assert "sample_loss_max_id" not in run.columns  # the ids are those of the whole batch


@pytest.mark.parametrize("wrapped", [False, True])
def test_losses_that_log_batch_is_given(wrapped, recorded):
    torch.manual_seed(0)
    one, model = recorded(), mlp(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer)
    plain, sums, worst = DataLoader(Indexed(40), 8, shuffle=True), [], []
    batches = one.writer.wrap(plain) if wrapped else plain
    for epoch in range(2):
        if not wrapped:
            one.writer.start_epoch(epoch)
        for inputs, targets, ids in batches:
            losses = nn.functional.cross_entropy(model(inputs), targets, reduction="none")
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            known = {} if wrapped else {"sample_ids": ids}
            one.writer.log_batch(losses.mean(), per_sample=losses, targets=targets, **known)
            sums.append(slowly(losses.detach(), targets))
            worst.append((losses.max().item(), ids[losses.argmax()].item()))
    run = one.run()
    assert len(run) == len(sums) == 10
    np.testing.assert_allclose(run.float("sample_loss_max"), [loss for loss, _ in worst], rtol=1e-5)
    assert run.float("sample_loss_max_id").tolist() == [sample for _, sample in worst]
    for row, truth in enumerate(sums):
        np.testing.assert_allclose(np.reshape(run.ragged["class_losses"][row], (-1, 3)), truth, rtol=1e-5)


def test_losses_that_log_batch_is_given_without_ids_or_samples(recorded):
    one = recorded()
    for losses in ([1.0, 3.0, 2.0], [], [float("nan"), 9.0]):
        one.writer.log_batch(1.0, per_sample=losses, targets=torch.tensor([0, 1]))
    run = one.run()
    np.testing.assert_array_equal(run.float("sample_loss_max"), [3.0, np.nan, np.nan])
    assert "sample_loss_max_id" not in run.columns
    assert [len(run.ragged["class_losses"][row]) for row in range(3)] == [0, 0, 6]  # targets of another length are of others
