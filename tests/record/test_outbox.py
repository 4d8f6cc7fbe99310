"""Rows and records reach the session in their order, each when its values are known."""

import pytest
import torch

from tb_losslens.record.deferred import Deferred
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
from tb_losslens.record.outbox import Outbox, Sent
from tb_losslens.store.logdir import load_runs


class OnItsWay(Deferred):
    """What a device has not computed yet."""

    arrived = False

    @property
    def ready(self):
        return self.arrived


@pytest.fixture
def box(tmp_path):
    file = EventFile(str(tmp_path / "run"))
    session = Session(tmp_path / "run", file)
    stored = []
    outbox = Outbox(session, lambda row: row.values.setdefault("step", len(stored)), stored.append)

    def run():
        outbox.drain(wait=True, force=True)
        session.close()
        file.close()
        return load_runs(tmp_path)["run"]

    outbox.stored, outbox.run = stored, run
    return outbox


def test_a_row_waits_for_its_device_and_everything_after_it_waits_too(box):
    late = Sent({"lr": 0.1}, later=OnItsWay())
    late.later.add("loss", torch.tensor(5.0))
    late.later.add("input_nonfinite", torch.tensor(2))
    box.put(late)
    box.record("note", text="between")
    box.put(Sent({"loss": 6.0}))
    assert box.stored == []
    box.amend(late, {"grad_norm": 3.0})
    late.later.arrived = True
    box.drain()
    assert len(box.stored) == 2
    run = box.run()
    assert run.loss.tolist() == [5.0, 6.0]
    assert run.float("grad_norm").tolist()[0] == 3.0
    assert run.columns["input_nonfinite"].tolist() == [2, -1]
    assert [event.batch for event in run.events if event.kind == "note"] == [1]


def test_what_is_held_is_kept_back_until_it_is_let_go(box):
    held = Sent({}, held=True)
    box.put(held)
    box.put(Sent({"loss": 2.0}))
    box.drain(wait=True)
    assert box.stored == []
    box.amend(held, {"loss": 1.0})
    held.held = False
    box.drain()
    assert box.run().loss.tolist() == [1.0, 2.0]


def test_the_newest_row_can_be_amended_and_an_older_one_not(box):
    rows = [Sent({"loss": 1.0, "lr": 0.5}), Sent({"loss": 2.0, "lr": 0.5})]
    box.put(rows[0])
    box.amend(rows[0], {"loss": 1.5, "grad_norm": 4.0})
    box.put(rows[1])
    box.amend(rows[0], {"loss": 99.0})
    run = box.run()
    assert run.loss.tolist() == [1.5, 2.0]
    assert run.float("grad_norm").tolist()[0] == 4.0


def test_force_takes_everything(box):
    late = Sent({}, later=OnItsWay(), held=True)
    late.later.add("loss", torch.tensor(5.0))
    box.put(late)
    assert box.run().loss.tolist() == [5.0]
