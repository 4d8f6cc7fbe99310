"""An interrupt (a stopped notebook cell, Ctrl-C) where CPython looks for one, in a dense step: torch and the recorder go on."""

import contextlib
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tb_losslens
from tb_losslens.record.guard import Guard
from tb_losslens.record.signals.checksum import Checksums
from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.test_lane_broken import Told
from tests.record.training import loader, two_classes

PACKAGE = str(Path(tb_losslens.__file__).parent)


@pytest.fixture(autouse=True)
def interrupts_are_handled():
    """A process that was started in the background ignores them."""
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, kept)


class Interrupt:
    """Raises KeyboardInterrupt at the place with number `at`: the entry of a Python function, or the return of a C function.

    A signal is handled there and nowhere else. Counted are those that we, or what we call, come to.
    """

    def __init__(self, at):
        self.left, self.place = at, None

    def __call__(self, frame, event, arg):
        if event not in ("call", "c_return") or frame.f_code.co_name in ("<genexpr>", "_remove"):
            return  # what a generator that is thrown away raises, or what a weak reference calls, reaches nobody
        outer = frame
        while outer is not None and not outer.f_code.co_filename.startswith(PACKAGE):
            outer = outer.f_back
        if outer is None:
            return
        self.left -= 1
        if self.left == 0:
            self.place = f"{event} {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            sys.setprofile(None)
            raise KeyboardInterrupt


class Training:
    def __init__(self, writer):
        torch.manual_seed(0)
        self.losses, self.done = [], []
        self.model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        self.criterion = Told(self.losses)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        writer.watch(self.model, self.optimizer, criterion=self.criterion)
        self.loader = writer.wrap(loader(two_classes(60), 10, shuffle=True))

    def batch(self, batches):
        inputs, targets = next(batches)
        self.optimizer.zero_grad()
        self.criterion(self.model(inputs), targets).backward()
        self.optimizer.step()
        self.done.append(self.losses[-1])

    def epoch(self):
        batches = iter(self.loader)
        for _ in range(6):
            self.batch(batches)
        assert next(batches, None) is None


def interrupted(logdir, before, at):
    """A batch that is interrupted and an epoch after it; where that was, None if the batch came to its end."""
    interrupt = Interrupt(at)
    with LossLensWriter(str(logdir / "run")) as writer:
        training = Training(writer)
        batches = iter(training.loader)
        for _ in range(before):
            training.batch(batches)
        stream = torch.get_rng_state()
        sys.setprofile(interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            training.batch(batches)
        sys.setprofile(None)
        assert writer._guard.depth == 0, interrupt.place
        assert torch.is_grad_enabled(), interrupt.place
        assert all(module.training for module in training.model.modules()), interrupt.place
        assert not before or torch.equal(torch.get_rng_state(), stream), interrupt.place  # the first one shuffles
        del batches
        training.epoch()
        assert writer._guard.disabled == {}, interrupt.place
    run = load_runs(logdir)["run"]
    losses = run.loss[np.isfinite(run.loss)].tolist()
    assert len(run) - len(losses) <= 1, interrupt.place
    assert sorted(set(losses), key=training.losses.index) == losses, interrupt.place
    assert set(training.done) <= set(losses), interrupt.place
    assert run.problems == ()
    return interrupt.place


@pytest.mark.parametrize(("before", "every"), [(0, 101), (1, 43), (2, 61), (5, 47)])
def test_an_interrupt_anywhere_in_a_dense_step(before, every, tmp_path):
    places = []
    for at in range(1, 100_000, every):
        place = interrupted(tmp_path / str(at), before, at)
        if place is None:
            break
        places.append(place)
    assert len(set(places)) > 25


def test_an_interrupt_at_the_end_of_an_epoch_that_was_broken_off_reaches_the_loop(tmp_path, monkeypatch):
    kept, calls = Checksums.epoch_ends, []

    def interrupted_once(self, epoch):
        calls.append(epoch)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return kept(self, epoch)

    def broken_off():
        training.batch(iter(training.loader))  # whose iterator is thrown away here, where Python lets nothing out
        for _ in range(1000):  # a moment later; nothing wakes one long sleep
            time.sleep(0.01)

    monkeypatch.setattr(Checksums, "epoch_ends", interrupted_once)
    with LossLensWriter(str(tmp_path / "run")) as writer:
        training = Training(writer)
        with pytest.raises(KeyboardInterrupt):
            broken_off()
        training.epoch()
    assert len(calls) == 2
    assert set(training.done) <= set(load_runs(tmp_path)["run"].loss.tolist())


@pytest.mark.parametrize("at", range(1, 12))
def test_whatever_the_guard_was_at(at):
    """Each place in the guard itself and in a context manager that turns gradients off: none leaves it busy, or them off."""
    guard = Guard(torch.is_grad_enabled, torch._C._set_grad_enabled)

    def reads():
        with torch.no_grad():
            return 1

    sys.setprofile(interrupt := Interrupt(at))
    with contextlib.suppress(KeyboardInterrupt):
        guard.call("outer", guard.call, "inner", reads)
    sys.setprofile(None)
    assert interrupt.place is not None
    assert guard.depth == 0, interrupt.place
    assert torch.is_grad_enabled(), interrupt.place
