"""At which boundaries the dear states are read, and what a run says where they were not."""

import warnings

import pytest
import torch
from torch import nn

from tb_losslens import diagnose
from tb_losslens.record import ends
from tb_losslens.record.ends import FIRST, SHARE, Ends
from tests.record.training import Recorded, events, loader, mlp, two_classes

STATES = ("parameters", "rng", "optimizer_state")


class Clock:
    def __init__(self, epoch, cost):
        self.now, self.epoch, self.cost = 0.0, epoch, cost

    def __call__(self):
        return self.now

    def train(self, budget, epochs):
        """Whether each boundary was read, of epochs that take `epoch` seconds and readings that take `cost`."""
        out = []
        for _ in range(epochs):
            self.now += self.epoch
            reads = budget.ended()
            if reads:
                budget.paid(self.cost / 2)
                budget.paid(self.cost / 2)
            out.append(reads)
        return out


def train(epoch, cost, epochs):
    clock = Clock(epoch, cost)
    return clock.train(Ends(clock), epochs)


def test_the_first_boundaries_are_read_whatever_they_cost():
    read = train(0.1, 5.0, FIRST + 50)
    assert all(read[:FIRST])
    assert not any(read[FIRST:])


@pytest.mark.parametrize("cost", [0.5e-3, 1e-3, 4e-3])
def test_after_them_they_cost_their_share(cost):
    read = train(0.1, cost, FIRST + 4000)[FIRST:]
    assert sum(read) * cost == pytest.approx(SHARE * 4000 * 0.1, rel=0.05)


def test_where_epochs_are_long_every_boundary_is_read():
    assert all(train(60.0, 0.1, 500))


def test_short_epochs_after_long_ones_are_paid_for_a_while():
    clock = Clock(60.0, 1e-3)
    budget = Ends(clock)
    clock.train(budget, 100)
    clock.epoch = 0.01
    read = clock.train(budget, 200)
    assert all(read[:5])
    assert sum(read) < 30


def test_a_clock_that_goes_back_takes_nothing_away():
    clock = Clock(0.1, 1e-3)
    budget = Ends(clock)
    clock.train(budget, FIRST + 100)
    clock.now -= 1e6
    read = clock.train(budget, 1000)
    assert sum(read) * 1e-3 == pytest.approx(SHARE * 1000 * 0.1, rel=0.1)


def recorded(folder, *, epochs=6, between=lambda training, epoch: None):
    """A training whose states are read at the first boundary alone."""
    torch.manual_seed(0)
    one = Recorded(folder)
    one.model, one.criterion = mlp(), nn.CrossEntropyLoss()
    one.optimizer = torch.optim.Adam(one.model.parameters(), 1e-2)
    one.writer.watch(one.model, one.optimizer, criterion=one.criterion)
    batches = one.writer.wrap(loader(two_classes(400), 20, shuffle=True))
    for epoch in range(epochs):
        for inputs, targets in batches:
            one.optimizer.zero_grad()
            one.criterion(one.model(inputs), targets).backward()
            one.optimizer.step()
        between(one, epoch)
    return one.run()


@pytest.fixture
def frugal(monkeypatch):
    monkeypatch.setattr(ends, "FIRST", 1)
    monkeypatch.setattr(ends, "SHARE", 0.0)


@pytest.mark.usefixtures("frugal")
def test_a_boundary_has_the_states_of_both_sides_or_of_neither_and_says_so(tmp_path):
    run = recorded(tmp_path)
    begins, finals = events(run, "epoch_begin"), events(run, "epoch_end")
    read = [all(name in event.fields for name in STATES) for event in begins]
    assert read == [True, True, False, False, False, False]
    assert [all(name in event.fields for name in STATES) for event in finals] == [True, *[False] * 5]
    for event in begins + finals:
        there = [name in event.fields for name in STATES]
        assert all(there) or not any(there)
        assert event.fields.get("states_read") is (None if all(there) else False)
    assert "rng_used" not in finals[1].fields
    assert all("order_hash" in event.fields for event in finals)


@pytest.mark.usefixtures("frugal")
def test_settings_are_looked_at_all_the_same(tmp_path):
    def between(training, epoch):
        if epoch == 3:
            training.optimizer.param_groups[0]["weight_decay"] = 0.1

    run = recorded(tmp_path, between=between)
    changes = events(run, "config_change")
    assert [(event.batch, event.fields["changes"]) for event in changes] == [
        (80, {"optimizer group 0 weight_decay": [0, 0.1]})
    ]


def clear_state(training, epoch):
    if epoch == 3:
        training.optimizer.state.clear()


def other_weights(training, epoch):
    if epoch == 3:
        with torch.no_grad():
            training.model[0].weight.mul_(-1)


@pytest.mark.parametrize(
    ("between", "cause"), [(clear_state, "optimizer_reset"), (other_weights, "resume_discontinuity")]
)
def test_what_happens_at_a_boundary_is_proved_where_it_is_read(tmp_path, between, cause):
    first = diagnose(recorded(tmp_path, between=between)).findings[0]
    assert (first.cause, first.strength) == (cause, "proved")


@pytest.mark.usefixtures("frugal")
@pytest.mark.parametrize("between", [lambda training, epoch: None, clear_state, other_weights])
def test_nothing_is_proved_of_a_boundary_that_was_not_read(tmp_path, between):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnose(recorded(tmp_path, between=between))
    for finding in found.findings:
        assert "checksum" not in " ".join([finding.text, *finding.evidence])
