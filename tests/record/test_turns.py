"""Threads and signal handlers that log to one writer at once: no row is lost, doubled or mixed up, and nobody waits."""

import contextlib
import itertools
import os
import signal
import sys
import threading

import numpy as np
import pytest
import torch

from tb_losslens.record import cadence
from tb_losslens.record.turns import Turns
from tests.record.training import events, loader, mlp, two_classes

ROWS, THREADS = 1500, 4


@pytest.fixture
def switching():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_that_log_batches(recorded, switching):
    one = recorded()

    def work(thread):
        for i in range(ROWS):
            one.writer.log_batch(thread * ROWS + i, mine=i, sample_ids=[thread, i])
            if i % 100 == 0:
                one.writer.note(f"{thread} {i}")
                one.writer.add_scalar("other", i, i)

    at_once(work)
    run = one.run()
    assert sorted(run.loss.tolist()) == list(range(THREADS * ROWS))
    np.testing.assert_array_equal(run.loss % ROWS, run.float("mine"))
    np.testing.assert_array_equal(run.ragged["sample_ids"].values.reshape(-1, 2), np.stack(divmod(run.loss, ROWS), 1))
    assert (np.diff(run.step) == 1).all()
    assert len(events(run, "note")) == THREADS * ROWS // 100
    for thread in range(THREADS):  # each in its own order
        mine = run.float("mine")[run.loss // ROWS == thread]
        assert (np.diff(mine) == 1).all()


def test_a_call_that_comes_in_the_turn_of_another_thread_is_made_after_it():
    turns, done, inside, go_on = Turns(), [], threading.Event(), threading.Event()

    def first():
        inside.set()
        assert go_on.wait(20)
        turns.call(done.append, "its own")
        done.append("first")

    thread = threading.Thread(target=turns.call, args=(first,))
    thread.start()
    assert inside.wait(20)
    turns.call(done.append, "second")  # does not wait
    turns.call(done.append, "third")
    assert done == []
    go_on.set()
    thread.join()
    turns.call(done.append, "last")
    assert done == ["its own", "first", "second", "third", "last"]


@contextlib.contextmanager
def handler(*calls):
    """A signal handler of the user's, a thousand times a second, that makes these calls in turn."""
    made = itertools.cycle(calls)
    before = signal.signal(signal.SIGALRM, lambda *_: next(made)())
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_handler_that_comes_into_our_own_calls(recorded):
    """As one that says that the job will be preempted, and saves what there is."""
    one = recorded()
    writer = one.writer
    said = itertools.count()
    with handler(lambda: writer.note(f"{next(said)}"), writer.flush, lambda: writer.add_scalar("other", 1.0, 0)):
        for i in range(3000):
            writer.log_batch(float(i))
    run = one.run()
    assert run.loss.tolist() == list(range(3000))
    # one may come into another
    assert sorted(int(event.text) for event in events(run, "note")) == list(range(next(said)))


def test_a_handler_that_comes_into_a_training(recorded, monkeypatch):
    monkeypatch.setattr(cadence, "GRANT", 1000.0)  # every row is dense
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1000.0)
    one = recorded()
    writer, model, criterion = one.writer, mlp(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    writer.watch(model, optimizer, criterion=criterion)
    said, losses = itertools.count(), []
    with handler(lambda: writer.note(f"{next(said)}"), writer.flush, lambda: writer.add_scalar("other", 1.0, 0)):
        for _ in range(15):
            for inputs, targets in writer.wrap(loader(two_classes(), 10, shuffle=True)):
                optimizer.zero_grad()
                loss = criterion(model(inputs), targets)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
    run = one.run()
    assert run.loss.tolist() == losses
    # one may come into another
    assert sorted(int(event.text) for event in events(run, "note")) == list(range(next(said)))


def test_what_is_raised_ends_the_turn():
    turns, done = Turns(), []
    with pytest.raises(ZeroDivisionError):
        turns.call(lambda: 1 / 0)
    thread = threading.Thread(target=turns.call, args=(done.append, 1))
    thread.start()
    thread.join()
    assert done == [1]


def test_a_child_that_is_forked_in_the_turn_of_another_thread_does_not_wait_for_it():
    turns, inside, go_on = Turns(), threading.Event(), threading.Event()

    def first():
        inside.set()
        assert go_on.wait(20)

    thread = threading.Thread(target=turns.call, args=(first,))
    thread.start()
    assert inside.wait(20)
    turns.call(print, "of the parent")
    pid = os.fork()
    if not pid:
        done = []
        turns.call(done.append, 1)
        os._exit(0 if done == [1] else 1)
    assert os.waitpid(pid, 0)[1] == 0
    go_on.set()
    thread.join()
