"""Epochs that are told with the loss of a batch, when a part of its step has been made."""

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens import diagnose
from tests.record.training import Recorded, events, loader, mlp, two_classes


def told_by_log_batch(folder, *, when, between=lambda optimizer, epoch: None, probe=False):
    """A loop without a loader whose epochs are told with the loss of each batch, before its step or after it."""
    torch.manual_seed(0)
    one = Recorded(folder)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    one.writer.watch(model, optimizer, criterion=criterion)
    inputs, targets = two_classes(240).tensors
    if probe:
        one.writer.set_probe((inputs, targets), (inputs, targets))
    for epoch in range(4):
        for batch in range(12):
            rows = slice(20 * batch, 20 * batch + 20)
            loss = criterion(model(inputs[rows]), targets[rows])
            if when == "before":
                one.writer.log_batch(loss, epoch=epoch)
            optimizer.zero_grad()
            loss.backward()
            if when == "between":
                one.writer.log_batch(loss, epoch=epoch)
            optimizer.step()
            if when == "after":
                one.writer.log_batch(loss, epoch=epoch)
        between(optimizer, epoch)
    return one.run()


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_an_epoch_that_is_told_with_a_batch_begins_with_it(tmp_path, when, probe):
    run = told_by_log_batch(tmp_path, when=when, probe=probe)
    assert [(epoch.epoch, epoch.first, epoch.last) for epoch in run.epochs] == [(i, 12 * i, 12 * i + 12) for i in range(4)]
    np.testing.assert_array_equal(run.float("epoch"), np.arange(48) // 12)
    np.testing.assert_array_equal(run.float("index"), np.arange(48) % 12)
    assert np.isfinite(run.loss).all()
    for event in (*events(run, "epoch_begin"), *events(run, "epoch_end")[:3]):
        assert event.fields["late"] is True
        assert event.fields["states_read"] is False
        assert not {"parameters", "rng", "optimizer_state", "backwards_left"} & event.fields.keys()
    assert "parameters" in events(run, "epoch_end")[3].fields  # of the last one the moment is there
    assert not [finding for finding in diagnose(run).findings if finding.kind == "fault"]


def test_a_setting_that_changes_before_it_changed_between_the_epochs(tmp_path):
    def between(optimizer, epoch):
        if epoch == 1:
            optimizer.param_groups[0]["weight_decay"] = 0.3

    run = told_by_log_batch(tmp_path, when="after", between=between)
    (change,) = events(run, "config_change")
    assert (change.batch, change.fields["when"]) == (24, "between epochs")
    assert change.fields["changes"] == {"optimizer group 0 weight_decay": [0, 0.3]}


def test_epochs_that_are_told_inside_one_pass_over_a_loader(tmp_path):
    one = Recorded(tmp_path)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    one.writer.watch(model, optimizer, criterion=criterion)
    for i, (inputs, targets) in enumerate(one.writer.wrap(loader(two_classes(600), 20, shuffle=True))):
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        one.writer.log_batch(loss, epoch=i // 10)
    run = one.run()
    assert [(epoch.epoch, epoch.first, epoch.last) for epoch in run.epochs] == [(0, 0, 10), (1, 10, 20), (2, 20, 30)]
    assert [len(run.ragged["sample_ids"][row]) for row in range(30)] == [20] * 30


@pytest.mark.parametrize("first", [0, 1, 5])
def test_a_number_that_is_not_the_count_of_passes_tears_no_pass(tmp_path, first):
    """With gradient accumulation the first batches of a pass are stored before `log_batch` says which epoch they are of."""
    one = Recorded(tmp_path)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 1e-2)
    one.writer.watch(model, optimizer, criterion=criterion)
    batches = one.writer.wrap(loader(two_classes(400), 20, shuffle=True))
    for epoch in range(first, first + 3):
        for i, (inputs, targets) in enumerate(batches):
            loss = criterion(model(inputs), targets)
            loss.backward()
            if i % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
                one.writer.log_batch(loss, epoch=epoch)
    run = one.run()
    assert [(epoch.first, epoch.last) for epoch in run.epochs] == [(0, 20), (20, 40), (40, 60)]
    assert all(event.fields["complete"] and event.fields["batches"] == 20 for event in events(run, "epoch_end"))
    assert len({event.fields["set_hash"] for event in events(run, "epoch_end")}) == 1
