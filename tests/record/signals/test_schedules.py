"""The learning rate against the formula of its scheduler, and schedulers that nobody named, in real trainings."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes

LR = torch.optim.lr_scheduler
BATCHES = 6


def train(one, make, *, epochs=4, each_batch=False, before=lambda epoch, optimizer, scheduler: scheduler, named=True):
    """Trains with the scheduler that `make` gives; `before` each epoch may change things, and gives that to go on with."""
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    scheduler = make(optimizer)
    one.writer.watch(model, optimizer, criterion=criterion, scheduler=scheduler if named else None)
    batches, rates = one.writer.wrap(loader(two_classes(), shuffle=True)), []
    for epoch in range(epochs):
        scheduler = before(epoch, optimizer, scheduler)
        for inputs, targets in batches:
            loss = criterion(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if each_batch and scheduler is not None:
                scheduler.step()
        if not each_batch and scheduler is not None:
            scheduler.step()
    return one.run(), np.array(rates)


def schedules(run):
    """The one optimiser's schedule at the begin and at the end of each epoch."""
    found = [(events(run, kind), kind) for kind in ("epoch_begin", "epoch_end")]
    return [[event.fields["schedule"][0] for event in its] for its, _ in found]


@pytest.mark.parametrize("each_batch", [False, True])
def test_the_rate_is_that_of_the_formula_and_the_steps_say_the_unit(each_batch, recorded):
    run, rates = train(recorded(), lambda o: LR.CosineAnnealingLR(o, 4), each_batch=each_batch)
    np.testing.assert_allclose(run.float("lr"), rates, rtol=1e-6)
    np.testing.assert_allclose(run.float("lr_closed_form"), rates, rtol=1e-6, atol=1e-9)
    begins, ends = schedules(run)
    unit = BATCHES if each_batch else 1
    assert [begin["steps"] for begin in begins] == [[unit * epoch] for epoch in range(4)]
    assert [end["steps"] for end in ends] == [[unit * (epoch + each_batch)] for epoch in range(4)]
    for one in (*begins, *ends):
        assert one["class"] == ["CosineAnnealingLR"]
        assert one["closed_form"] == pytest.approx(one["lr"], abs=1e-9)


def test_a_rate_that_somebody_else_sets_is_not_that_of_the_formula(recorded):
    def by_hand(epoch, optimizer, scheduler):
        if epoch == 2:
            optimizer.param_groups[0]["lr"] = 0.07
        return scheduler

    run, rates = train(recorded(), lambda o: LR.StepLR(o, 1, 0.5), before=by_hand)
    np.testing.assert_allclose(run.float("lr"), rates, rtol=1e-6)
    by_epoch = run.float("lr_closed_form").reshape(4, BATCHES)
    np.testing.assert_allclose(by_epoch, np.repeat([[0.1], [0.05], [0.025], [0.0125]], BATCHES, 1), rtol=1e-6)
    assert rates.reshape(4, BATCHES)[2:, 0].tolist() == [0.07, 0.035]
    assert not events(run, "config_change")


def test_a_scheduler_built_again_is_found_and_noted(recorded):
    def again(epoch, optimizer, scheduler):
        return LR.StepLR(optimizer, 1, 0.3) if epoch == 2 else scheduler

    run, _ = train(recorded(), lambda o: LR.StepLR(o, 1, 0.5), epochs=5, before=again)
    changes = [event for event in events(run, "config_change") if "scheduler" in event.fields]
    assert [(event.batch, event.fields["scheduler"]["gamma"]) for event in changes] == [(3 * BATCHES, 0.3)]
    assert run.facts["scheduler"]["gamma"] == 0.3


def test_a_scheduler_that_nobody_named_is_found_and_is_no_change(recorded):
    run, rates = train(recorded(), lambda o: LR.ExponentialLR(o, 0.5), named=False)
    assert (run.facts["scheduler"]["class"], run.facts["scheduler"]["gamma"]) == ("ExponentialLR", 0.5)
    assert not events(run, "config_change")
    known = np.isfinite(run.float("lr_closed_form"))
    assert known[BATCHES:].all()
    np.testing.assert_allclose(run.float("lr_closed_form")[known], rates[known], rtol=1e-6)


def test_a_warm_up_is_taken_beside_the_named_one_that_waits(recorded):
    warm = []

    def switch(epoch, optimizer, scheduler):
        if not epoch:
            warm.append(LR.LinearLR(optimizer, 0.1, 1.0, 2))
        return warm[0] if epoch < 2 else scheduler

    run, rates = train(recorded(), lambda o: LR.StepLR(o, 1, 0.5), epochs=5, before=switch)
    assert not [event for event in events(run, "config_change") if "scheduler" in event.fields]
    np.testing.assert_allclose(run.float("lr_closed_form")[BATCHES:], rates[BATCHES:], rtol=1e-6)


def test_rates_set_by_hand_find_no_scheduler(recorded, monkeypatch):
    looked = []
    monkeypatch.setattr("tb_losslens.record.signals.schedules._schedulers_of", lambda _: looked.append(1) or [])

    def by_hand(epoch, optimizer, scheduler):
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + epoch)
        return scheduler

    run, rates = train(recorded(), lambda o: None, epochs=9, before=by_hand)
    assert len(looked) == 4  # and not in every epoch
    assert "scheduler" not in run.facts
    assert not run.has("lr_closed_form")
    np.testing.assert_allclose(run.float("lr"), rates, rtol=1e-6)
    assert "schedule" not in events(run, "epoch_end")[0].fields


def test_a_function_of_the_users_own_has_a_reason_in_the_place_of_a_formula(recorded):
    run, _ = train(recorded(), lambda o: LR.LambdaLR(o, lambda n: 0.9**n))
    begins, _ = schedules(run)
    assert "its function is the user's own" in begins[1]["skipped"]
    assert begins[1]["lr"] == pytest.approx([0.09])
