"""Threads, signals, forks and disks that refuse: a session loses nothing, and stops nobody."""

import os
import signal
import threading
import time

import numpy as np

from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
from tb_losslens.store.logdir import load_runs
from tests.record.disk.recording import Recording


def test_two_threads_lose_no_row(recording):
    def work(value):
        for _ in range(500):
            recording.session.put({"loss": value})
            recording.session.record("note")

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run = recording.run()
    assert sorted(run.loss.tolist()) == [0.0] * 500 + [1.0] * 500
    assert len(run.events) == 1000


def test_flush_in_a_signal_handler_never_hangs_and_loses_nothing(recording):
    flushes = 0

    def handler(number, frame):
        nonlocal flushes
        flushes += 1
        recording.session.flush()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        rows = 0
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            recording.session.put({"loss": float(rows), "a": 1, "b": 2.0, "c": 3.0}, ids=[rows])
            recording.session.amend({"c": 4.0})
            recording.session.record("note")
            rows += 1
            if rows % 50 == 0:
                recording.session.flush()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert flushes > 50
    run = recording.run()
    assert run.loss.tolist() == list(range(rows))
    assert len(run.events) == rows
    assert not run.problems


def test_a_forked_child_touches_nothing(recording):
    recording.session.put({"loss": 1.0})
    pid = os.fork()
    if pid == 0:
        recording.session.put({"loss": 99.0})
        recording.session.amend({"loss": 98.0})
        recording.session.record("note")
        recording.session.flush()
        recording.session.close()
        os._exit(0 if recording.session.disabled else 1)
    assert os.waitpid(pid, 0)[1] == 0
    recording.session.put({"loss": 2.0})
    assert recording.run().loss.tolist() == [1.0, 2.0]
    assert recording.run().events == ()
    assert not recording.session.disabled


def test_a_closed_session_takes_nothing(recording):
    recording.session.put({"loss": 1.0})
    recording.close()
    recording.session.put({"loss": 2.0})
    recording.session.amend({"loss": 2.0})
    recording.session.record("note")
    recording.session.flush()
    run = recording.run()
    assert run.loss.tolist() == [1.0]
    assert run.sessions[0]["closed"]
    assert not run.live


def test_many_rows_at_full_speed_wait_for_the_disk_and_lose_none(recording):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20_000, 20))
    names = [f"c{i}" for i in range(20)]
    for row in table:
        recording.session.put(dict(zip(names, row.tolist(), strict=True)))
    run = recording.run()
    np.testing.assert_array_equal(np.stack([run.columns[name] for name in names], 1), table)


class TestWhenTheDiskRefuses:
    def test_an_unwritable_directory(self):
        recording = Recording("/proc/no/run")
        for i in range(1000):
            assert recording.session.put({"loss": 1.0}, ids=[i]) == i
        recording.session.amend({"loss": 1.0})
        recording.session.record("epoch_end")
        recording.session.flush()
        recording.close()
        assert len(recording.warnings) == 1

    def test_no_room_for_a_tail_leaves_the_event_file(self, tmp_path, monkeypatch):
        def refuse(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", refuse)
        recording = Recording(tmp_path)
        assert not list(tmp_path.glob("*.tail"))
        for i in range(300):
            recording.session.put({"loss": float(i)})
        recording.close()
        assert recording.run().loss.tolist() == list(range(300))
        assert len(recording.warnings) == 1
        assert "No space left on device" in recording.warnings[0]

    def test_a_disk_that_fills_up_keeps_the_rows_in_the_tail(self, tmp_path):
        warnings = []
        file = EventFile(tmp_path, path="/dev/full", warn=warnings.append)
        session = Session(tmp_path, file, warnings.append)
        session._off = False  # the first write may have failed already; here it fails while rows come
        for i in range(20):
            session.put({"loss": float(i)})
        session.close()
        file.close()
        assert len(warnings) == 1
        assert load_runs(tmp_path)["."].loss.tolist() == list(range(20))
