"""The next writer brings the batches of a killed one into its event file."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.locks import is_dead, lock
from tb_losslens.record.disk.session import Session
from tb_losslens.store.logdir import load_runs
from tests.record.test_kill import killed


def hide_tails(logdir):
    """What a reader sees that has only the event files, as one of a remote directory."""
    for path in logdir.glob("*.tail"):
        path.unlink()


@pytest.mark.parametrize("rows", [3, 2000])
def test_a_killed_process_leaves_its_rows_to_the_next(tmp_path, rows):
    said = killed(tmp_path, rows)
    (tail,) = tmp_path.glob("*.tail")
    file = EventFile(tmp_path)
    session = Session(tmp_path, file)
    file.flush()
    assert not tail.exists()
    session.put({"loss": 0.0, "step": 10**6})
    session.close()
    file.close()
    hide_tails(tmp_path)
    run = load_runs(tmp_path)["."]
    n = np.arange(len(run) - 1)
    assert said <= len(n) <= said + 1
    np.testing.assert_array_equal(run.step[:-1], n)
    np.testing.assert_array_equal(run.ragged["sample_ids"].values.reshape(-1, 3), n[:, None] + np.arange(3))
    assert run.problems == ()
    assert [session["closed"] for session in run.sessions] == [False, True]


def test_a_tail_of_a_living_writer_is_left_alone(tmp_path):
    file = EventFile(tmp_path)
    first = Session(tmp_path, file)
    first.put({"loss": 1.0, "step": 0})
    code = f"""
from pathlib import Path
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.recover import recover
file = EventFile({str(tmp_path)!r})
recover(Path({str(tmp_path)!r}), file)
file.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    (tail,) = tmp_path.glob("*.tail")
    second = Session(tmp_path, file)
    file.flush()
    assert tail.exists()
    second.close()
    first.put({"loss": 2.0, "step": 1})
    assert load_runs(tmp_path)["."].loss.tolist() == [1.0, 2.0]
    first.close()
    file.close()


def test_a_forked_child_that_lives_on_does_not_hold_the_lock(tmp_path):
    code = f"""
import os, signal, sys, time
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
file = EventFile({str(tmp_path)!r})
session = Session({str(tmp_path)!r}, file)
session.put({{"loss": 1.0, "step": 0}})
if os.fork() == 0:
    print(os.getpid(), flush=True)
    os.close(1)
    time.sleep(30)
    os._exit(0)
time.sleep(0.2)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.wait(30)
    try:
        file = EventFile(tmp_path)
        session = Session(tmp_path, file)
        session.close()
        file.close()
        assert not list(tmp_path.glob("*.tail"))
    finally:
        os.kill(child, 9)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_what_is_no_tail_stays(tmp_path, content):
    (tmp_path / "losslens.x.tail").write_bytes(content)
    file = EventFile(tmp_path)
    Session(tmp_path, file).close()
    file.close()
    assert (tmp_path / "losslens.x.tail").read_bytes() == content


def test_a_full_disk_keeps_the_old_tail(tmp_path):
    killed(tmp_path, 50)
    (tail,) = tmp_path.glob("*.tail")
    file = EventFile(tmp_path, path="/dev/full")
    session = Session(tmp_path, file)
    file.flush()
    session.close()
    file.close()
    assert tail.exists()
    assert len(load_runs(tmp_path)["."]) >= 50


def test_locks(tmp_path):
    path = tmp_path / "x"
    path.touch()
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    assert lock(first) is True
    assert lock(second) is False
    os.close(first)
    assert lock(second) is True
    os.close(second)


def test_dead_processes():
    import socket

    host = socket.gethostname()
    assert not is_dead({"pid": os.getpid(), "host": host})
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(30)
    deadline = time.monotonic() + 5
    while not is_dead({"pid": process.pid, "host": host}) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_dead({"pid": process.pid, "host": host})
    assert not is_dead({"pid": process.pid, "host": "another machine"})
    assert not is_dead({})
