"""A signal handler of the user's that logs, right at the entry of an event of the short way: the row stays what it was."""

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record import lane
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.cadences import Cadences
from tests.record.training import events, loader, mlp, two_classes

EVENTS = 5
"""Of a step, each of which asks once on which thread it is."""


@pytest.mark.parametrize("what", ["note", "flush", "add_scalar"])
@pytest.mark.parametrize("place", range(EVENTS))
def test_a_handler_that_logs_at_the_entry_of_an_event(place, what, recorded, monkeypatch, half):
    half(False)  # no handler runs in the other one
    torch.manual_seed(0)
    monkeypatch.setattr(Cadences, "next", lambda cadences, index, length: SPARSE)
    one, model, criterion, losses = recorded(), mlp(), nn.CrossEntropyLoss(), []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    asked, kept = [0], lane.get_ident

    def get_ident():
        asked[0] += 1
        if asked[0] % (EVENTS * 7) == place:  # as if a signal came just then
            {"note": lambda: one.writer.note("a signal"), "flush": one.writer.flush}.get(
                what, lambda: one.writer.add_scalar("other", 1.0, 0)
            )()
        return kept()

    monkeypatch.setattr(lane, "get_ident", get_ident)
    for _ in range(4):
        for inputs, targets in one.writer.wrap(loader(two_classes(), 5, shuffle=True)):
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    run = one.run()
    assert asked[0] > 3 * EVENTS * len(losses) / 4
    np.testing.assert_allclose(run.loss, losses, rtol=1e-6)
    assert (np.diff(run.step) == 1).all()
    np.testing.assert_allclose(run.float("lr"), 0.1)
    assert not run.has("loss.1")
    assert run.problems == ()
    if what == "note":
        assert events(run, "note")
