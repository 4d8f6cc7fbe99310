"""Full disks, directories that nobody may write to, forks: one warning, and whole records."""

import os
import resource
import struct
import subprocess
import sys
import time

import pytest

from tb_losslens.record.disk.event_file import EventFile
from tests.record.disk.event_files import scalar, steps_in


def test_a_full_disk_is_one_warning(warnings, tmp_path):
    full = EventFile(tmp_path, path="/dev/full", warn=warnings.append)
    done = []
    for step in range(100):
        full.add_event(scalar("a", 1, step))
        full.add_job(lambda: [b"x"], done.append)
        full.flush()
    full.close()
    assert full.failed
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]
    assert "the training goes on" in warnings[0]
    assert done == [False] * 100


@pytest.mark.parametrize("logdir", ["/proc/no", "/dev/null/run", "/dev/null"])
def test_an_unwritable_directory_is_one_warning(warnings, logdir):
    file = EventFile(logdir, warn=warnings.append)
    file.add_event(scalar("a", 1, 0))
    file.flush()
    file.close()
    file.reopen()
    assert file.failed
    assert len(warnings) == 1
    assert logdir in warnings[0]


def test_a_disk_that_fills_up_leaves_whole_records(tmp_path):
    # a limit on the size of files is a full disk that needs no disk
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from tb_losslens.record.disk.event_file import EventFile
from tests.record.disk.test_event_file import scalar
file = EventFile({str(tmp_path)!r}, warn=print)
for step in range(2000):
    file.add_event(scalar("a", 1, step))
    if step % 50 == 0:
        file.flush()
file.close()
print("alive", file.failed)
"""
    assert resource.RLIMIT_FSIZE
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("LossLens cannot write") == 1
    assert done.stdout.endswith("alive True\n")
    (path,) = tmp_path.iterdir()
    steps = steps_in(path)
    assert steps == list(range(len(steps)))
    assert 300 < len(steps) < 2000
    data = path.read_bytes()
    at = 0
    while at < len(data):
        at += 16 + struct.unpack_from("<Q", data, at)[0]
    assert at == len(data)


def test_an_exception_in_a_job_disables_and_warns(warnings, tmp_path):
    file = EventFile(tmp_path, warn=warnings.append)
    done = []
    file.add_job(lambda: 1 / 0, done.append)
    file.flush()
    assert done == [False]
    assert "division by zero" in warnings[0]
    file.close()


def test_a_forked_child_writes_nothing(file):
    file.add_event(scalar("a", 1, 1))
    pid = os.fork()
    if pid == 0:
        file.add_event(scalar("a", 1, 2))
        file.flush()
        file.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    file.add_event(scalar("a", 1, 3))
    file.flush()
    assert steps_in(file.path) == [1, 3]


def test_adding_hardly_costs_the_caller(file):
    event = scalar("a", 1, 1)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(500):
            file.add_event(event)
        times.append((time.perf_counter() - start) / 500)
        file.flush()
    assert min(times) < 50e-6  # TensorBoard's own writer: about 30 to 800 us
