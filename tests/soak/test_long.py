"""Ten million batches, and a month at one step a second: everything that was written is read back."""

import time

import numpy as np
import pytest

from tb_losslens.record.disk import session as session_module
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
from tb_losslens.store.logdir import load_runs

STEPS_A_EPOCH = 10_000


def row(step, when):
    """Every value follows from the step, by a rule that the reading side applies to whole arrays."""
    loss = (step * 2_654_435_761 % (1 << 20)) / (1 << 20)
    return {"step": step, "time": when, "loss": loss, "epoch": step // STEPS_A_EPOCH, "index": step % STEPS_A_EPOCH}


def check(run, begin, seconds):
    n = np.arange(len(run), dtype=np.int64)
    np.testing.assert_array_equal(run.step, n)
    np.testing.assert_array_equal(run.loss, (n * 2_654_435_761 % (1 << 20)) / (1 << 20))
    np.testing.assert_array_equal(run.float("epoch"), n // STEPS_A_EPOCH)
    np.testing.assert_array_equal(run.float("index"), n % STEPS_A_EPOCH)
    np.testing.assert_allclose(run.float("time"), begin + n * seconds, rtol=0, atol=1e-3)
    assert run.problems == ()
    assert len(run.epochs) == -(-len(run) // STEPS_A_EPOCH)
    assert [event.batch for event in run.events if event.kind == "epoch_end"] == list(
        range(STEPS_A_EPOCH, len(run) + 1, STEPS_A_EPOCH)
    )


class Clock:
    """Stands for the module `time`: its seconds pass when it is told so."""

    def __init__(self):
        self.now = 0.0
        self.begin = time.time()

    def monotonic(self):
        return self.now

    def time(self):
        return self.begin + self.now


def record(logdir, steps, seconds, clock):
    file = EventFile(logdir)
    session = Session(logdir, file)
    for step in range(steps):
        session.put(row(step, clock.begin + step * seconds))
        if step % STEPS_A_EPOCH == STEPS_A_EPOCH - 1:
            session.record("epoch_end", step=step, fields={"epoch": step // STEPS_A_EPOCH})
        clock.now += seconds
    session.close()
    file.close()
    return sum(path.stat().st_size for path in logdir.iterdir())


@pytest.mark.parametrize(("steps", "seconds"), [(10_000_000, 0.001), (30 * 86_400, 1.0)], ids=["ten million", "a month"])
def test_all_of_it_is_read_back(steps, seconds, tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(session_module, "time", clock)
    size = record(tmp_path, steps, seconds, clock)
    check(load_runs(tmp_path)["."], clock.begin, seconds)
    print(f"{steps:,} batches, {size / steps:.1f} bytes each")
