"""An interrupt (a stopped notebook cell, Ctrl-C) may come at any instruction of ours: nothing is lost, doubled or invented."""

import sys
from pathlib import Path

import numpy as np
import pytest

import tb_losslens
from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs

PACKAGE = str(Path(tb_losslens.__file__).parent)


class Interrupt:
    """Raises KeyboardInterrupt before the instruction of the package with number `at`."""

    def __init__(self, at):
        self.left = at
        self.place = None

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._instruction

    def _instruction(self, frame, event, arg):
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self._instruction


def log(writer, batch):
    writer.log_batch(batch / 8, step=batch, mine=-batch, sample_ids=[batch, batch + 1])


def interrupted(logdir, before, at):
    """Logs `before` batches, one that is interrupted, and four more; where it was interrupted, None if it came to its end."""
    interrupt = Interrupt(at)
    with LossLensWriter(str(logdir)) as writer:
        for batch in range(before):
            log(writer, batch)
        tracer = sys.gettrace()
        sys.settrace(interrupt)
        try:
            log(writer, before)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(tracer)
        for batch in range(before + 1, before + 5):
            log(writer, batch)
        assert writer._guard.disabled == {}
    return interrupt.place


def check(logdir, before, place):
    run = load_runs(logdir)["."]
    batches = [n for n in range(before + 5) if n != before or n in run.step]  # the interrupted one may be there, whole
    assert run.step.tolist() == batches, place
    np.testing.assert_array_equal(run.loss, np.array(batches) / 8, place)
    np.testing.assert_array_equal(run.float("mine"), -np.array(batches), place)
    ids = run.ragged["sample_ids"]
    assert [ids[row].tolist() for row in range(len(run))] == [[n, n + 1] for n in batches], place
    assert run.problems == (), place


# a prime: the places that are met differ from run to run of the code, and from each other
@pytest.mark.parametrize(("before", "every"), [(0, 61), (3, 31), (256, 53)])
def test_an_interrupt_anywhere_in_log_batch(before, every, tmp_path):
    places = []
    for at in range(1, 100_000, every):
        place = interrupted(tmp_path / str(at), before, at)
        if place is None:
            break
        check(tmp_path / str(at), before, place)
        places.append(place)
    assert len({place.split(":")[0] for place in places}) >= 8  # it did reach the parts of the recorder
