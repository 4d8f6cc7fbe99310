"""Epochs are passes over the loader, whatever the loop does with it."""

import itertools

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.record.training import Indexed, events, loader, mlp, two_classes


def step_of(model, criterion, optimizer, inputs, targets):
    loss = criterion(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@pytest.fixture
def parts():
    torch.manual_seed(0)
    model = mlp()
    return model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1)


def test_break_is_an_incomplete_epoch(recorded, parts):
    one = recorded()
    wrapped = one.writer.wrap(loader(two_classes(), shuffle=True))
    for _ in range(2):
        for position, _ in enumerate(wrapped):
            one.writer.log_batch(1.0)
            if position == 2:
                break
    for _ in wrapped:
        one.writer.log_batch(1.0)
    run = one.run()
    assert [len(epoch) for epoch in run.epochs] == [3, 3, 6]
    assert [epoch.fields["complete"] for epoch in run.epochs] == [False, False, True]
    assert [epoch.fields["batches"] for epoch in run.epochs] == [3, 3, 6]


def test_break_with_workers_leaves_prefetched_batches_out(recorded):
    one = recorded()
    wrapped = one.writer.wrap(DataLoader(Indexed(), 4, shuffle=True, num_workers=2))
    said = []
    for _ in range(2):
        for position, batch in enumerate(wrapped):
            said.append(batch[2].tolist())
            one.writer.log_batch(1.0)
            if position == 2:
                break
    run = one.run()
    assert [run.ragged["sample_ids"][row].tolist() for row in range(6)] == said


def test_a_loader_of_length_zero_is_no_epoch(recorded):
    one = recorded()
    empty = one.writer.wrap(DataLoader(Indexed(3), 8, drop_last=True))
    full = one.writer.wrap(DataLoader(Indexed(), 8))
    for wrapped in (empty, full, empty, full):
        for _ in wrapped:
            one.writer.log_batch(1.0)
    run = one.run()
    assert [(epoch.epoch, len(epoch)) for epoch in run.epochs] == [(0, 5), (1, 5)]
    assert len(events(run, "epoch_end")) == 2


def test_peeking_at_the_first_batch_is_no_epoch(recorded, parts):
    one = recorded()
    model, criterion, optimizer = parts
    one.writer.watch(model, optimizer, criterion=criterion)
    wrapped = one.writer.wrap(loader(two_classes(), shuffle=True))
    next(iter(wrapped))
    for inputs, targets in wrapped:
        step_of(model, criterion, optimizer, inputs, targets)
    run = one.run()
    assert [(epoch.epoch, len(epoch)) for epoch in run.epochs] == [(0, 6)]


def test_a_loop_inside_a_loop(recorded):
    """Each outer batch is a task; training goes over an inner loader: its passes are the epochs."""
    one = recorded()
    outer = one.writer.wrap(DataLoader(Indexed(6), 2))
    inner = one.writer.wrap(DataLoader(Indexed(12), 4, shuffle=True))
    said = []
    for _ in outer:
        for batch in inner:
            said.append(batch[2].tolist())
            one.writer.log_batch(1.0)
    run = one.run()
    assert [run.ragged["sample_ids"][row].tolist() for row in range(len(run))] == said
    assert [len(epoch) for epoch in run.epochs] == [3, 3, 3]
    assert [epoch.fields["complete"] for epoch in run.epochs] == [True, True, True]
    assert [epoch.fields["loader"]["dataset_size"] for epoch in run.epochs] == [12, 12, 12]


def test_two_loaders_side_by_side(recorded, parts):
    one = recorded()
    model, criterion, optimizer = parts
    one.writer.watch(model, optimizer, criterion=criterion)
    labelled = one.writer.wrap(loader(two_classes(120), shuffle=True))
    other = one.writer.wrap(loader(two_classes(200), shuffle=True))
    for _ in range(2):
        for (inputs, targets), _ in zip(labelled, other, strict=False):
            step_of(model, criterion, optimizer, inputs, targets)
    run = one.run()
    assert [len(epoch) for epoch in run.epochs] == [6, 6]
    assert [epoch.fields["loader"]["dataset_size"] for epoch in run.epochs] == [120, 120]
    assert run.epochs[0].fields["set_hash"] == run.epochs[1].fields["set_hash"]


@pytest.mark.parametrize("before", [1, 2, 4])
def test_a_loop_that_was_broken_off_while_its_iterator_is_held(before, recorded, parts):
    """As by the traceback of an interrupted notebook cell: the cell that is run again has all its batches."""
    one = recorded()
    model, criterion, optimizer = parts
    one.writer.watch(model, optimizer, criterion=criterion)
    wrapped = one.writer.wrap(loader(two_classes(), shuffle=True))
    held = iter(wrapped)
    for _ in range(before):
        step_of(model, criterion, optimizer, *next(held))
    for _ in range(2):
        for inputs, targets in wrapped:
            step_of(model, criterion, optimizer, inputs, targets)
    run = one.run()
    assert [len(epoch) for epoch in run.epochs] == [before, 6, 6]
    assert [epoch.fields["complete"] for epoch in run.epochs] == [False, True, True]
    assert not run.has("loss.1")


def test_two_loops_over_one_loader_that_take_turns(recorded, parts):
    """The critic's batches come from another iterator than the generator's: the one that came last is the measure."""
    one = recorded()
    model, criterion, optimizer = parts
    one.writer.watch(model, optimizer, criterion=criterion)
    wrapped = one.writer.wrap(loader(two_classes(), shuffle=True))
    first, second = iter(wrapped), iter(wrapped)
    for _ in range(6):
        step_of(model, criterion, optimizer, *next(first))
        step_of(model, criterion, optimizer, *next(second))
    run = one.run()
    assert [len(epoch) for epoch in run.epochs] == [1, 6]


def test_an_iterator_that_is_held_and_cycled(recorded):
    one = recorded()
    wrapped = one.writer.wrap(DataLoader(Indexed(8), 4, shuffle=True))

    def forever():
        while True:
            yield from wrapped

    said = []
    for batch in itertools.islice(forever(), 5):
        said.append(batch[2].tolist())
        one.writer.log_batch(1.0)
    run = one.run()
    assert [run.ragged["sample_ids"][row].tolist() for row in range(5)] == said
    assert [len(epoch) for epoch in run.epochs] == [2, 2, 1]


def look_ahead(iterable, count):
    """Yields each item only after `count` more were pulled, as frameworks do."""
    waiting = []
    for item in iterable:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.pop(0)
    yield from waiting


@pytest.mark.parametrize("copies", [False, True], ids=["same tensor", "a copy"])
@pytest.mark.parametrize("ahead", [1, 3])
def test_a_batch_belongs_to_the_step_that_consumes_it(ahead, copies, recorded, parts):
    one = recorded()
    model, criterion, optimizer = parts
    model = nn.Sequential(nn.Linear(3, 8), model)
    optimizer.add_param_group({"params": model[0].parameters()})
    one.writer.watch(model, optimizer, criterion=criterion)
    wrapped = one.writer.wrap(DataLoader(Indexed(), 8, shuffle=True))
    said = []
    for _ in range(2):
        for inputs, targets, ids in look_ahead(wrapped, ahead):
            said.append(ids.tolist())
            step_of(model, criterion, optimizer, inputs.clone() if copies else inputs, targets.clamp(max=1))
    run = one.run()
    assert [run.ragged["sample_ids"][row].tolist() for row in range(len(run))] == said
    assert [len(epoch) for epoch in run.epochs] == [5, 5]
    assert [epoch.fields["complete"] for epoch in run.epochs] == [True, True]


def test_look_ahead_without_a_model(recorded):
    one = recorded()
    wrapped = one.writer.wrap(DataLoader(Indexed(), 8, shuffle=True))
    said = []
    for _ in range(2):
        for batch in look_ahead(wrapped, 1):
            said.append(batch[2].tolist())
            one.writer.log_batch(1.0)
    run = one.run()
    assert [run.ragged["sample_ids"][row].tolist() for row in range(len(run))] == said
    assert [len(epoch) for epoch in run.epochs] == [5, 5]


def test_several_batches_pulled_at_once(recorded, parts):
    """As HF Trainer does under gradient accumulation."""
    one = recorded()
    model, criterion, optimizer = parts
    one.writer.watch(model, optimizer, criterion=criterion)
    wrapped = iter(one.writer.wrap(loader(two_classes(), 10, shuffle=True)))
    while group := list(itertools.islice(wrapped, 3)):
        for inputs, targets in group:
            criterion(model(inputs.clone()), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    run = one.run()
    assert len(run) == 12
    assert sorted(run.ragged["sample_ids"].values.tolist()) == list(range(120))


def test_a_skipped_batch_is_no_row(recorded, parts):
    one = recorded()
    model, criterion, optimizer = parts
    one.writer.watch(model, optimizer, criterion=criterion)
    data = two_classes()
    for epoch in range(2):
        for position, (inputs, targets) in enumerate(one.writer.wrap(loader(data))):
            if epoch == 1 and position == 2:
                continue
            step_of(model, criterion, optimizer, inputs.clone(), targets)
    run = one.run()
    assert [len(epoch) for epoch in run.epochs] == [6, 5]
    firsts = [int(run.ragged["sample_ids"][row][0]) for row in range(6, 11)]
    assert firsts == [0, 20, 60, 80, 100]


def test_the_users_own_numbers(recorded):
    one = recorded()
    wrapped = one.writer.wrap(DataLoader(Indexed(), 20))
    for epoch in (5, 6):
        one.writer.start_epoch(epoch)
        for _ in wrapped:
            one.writer.log_batch(1.0)
    for _ in wrapped:
        one.writer.log_batch(1.0)
    for _ in wrapped:
        one.writer.log_batch(1.0, epoch=20)
    run = one.run()
    assert [epoch.epoch for epoch in run.epochs] == [5, 6, 7, 20]
    assert [event.fields["epoch"] for event in events(run, "epoch_begin")] == [5, 6, 7, 20]
    assert [len(epoch) for epoch in run.epochs] == [2, 2, 2, 2]


def test_a_loop_without_a_loader(recorded):
    one = recorded()
    for epoch in range(3):
        one.writer.start_epoch(epoch)
        for _ in range(4):
            one.writer.log_batch(1.0)
        one.writer.end_epoch()
    for epoch in (3, 4):
        for _ in range(4):
            one.writer.log_batch(1.0, epoch=epoch, sample_ids=range(8), targets=torch.tensor([1, 0, 1]))
    run = one.run()
    assert [epoch.epoch for epoch in run.epochs] == [0, 1, 2, 3, 4]
    assert run.columns["index"].tolist() == [0, 1, 2, 3] * 5
    ends = [event.fields for event in events(run, "epoch_end")]
    assert [end["batches"] for end in ends] == [4] * 5
    assert ends[0]["order_hash"] is None
    assert ends[3]["order_hash"] == ends[4]["order_hash"] is not None
    assert run.ragged["classes"][19].tolist() == [[0, 1], [1, 2]]
    assert run.columns["batch_size"].tolist()[12:] == [8] * 8


def test_without_epochs_there_are_none(recorded):
    one = recorded()
    for _ in range(5):
        one.writer.log_batch(1.0)
    run = one.run()
    assert len(run) == 5
    assert run.epochs == ()
