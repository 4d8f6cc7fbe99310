import os
import resource
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from tb_losslens.record.disk.event_file import EventFile, frame


def scalar(tag, value, step):
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])
    return event_pb2.Event(wall_time=time.time(), step=step, summary=summary)


def steps_in(path):
    return [event.step for event in LegacyEventFileLoader(str(path)).Load() if event.HasField("summary")]


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def file(tmp_path, warnings):
    file = EventFile(tmp_path / "run", warn=warnings.append)
    yield file
    file.close()
    assert not warnings


def test_frames_as_tensorboard_does(tmp_path):
    data = os.urandom(300)
    with (tmp_path / "x").open("wb") as out:
        RecordWriter(out).write(data)
    assert frame(data) == (tmp_path / "x").read_bytes()


def test_tensorboard_reads_every_event(file):
    for step in range(1000):
        file.add_event(scalar("loss", step / 7, step))
    file.flush()
    first = next(iter(LegacyEventFileLoader(str(file.path)).Load()))
    assert first.file_version == "brain.Event:2"
    accumulator = EventAccumulator(str(file.path), {"scalars": 0}).Reload()
    np.testing.assert_allclose([e.value for e in accumulator.Scalars("loss")], np.arange(1000) / 7, rtol=1e-6)


def test_named_as_torch_names_it(tmp_path):
    file = EventFile(tmp_path, filename_suffix=".mine")
    file.close()
    kind, time_, *_host, pid, number = Path(file.path).name.removesuffix(".mine").removeprefix("events.out.").split(".")
    assert kind == "tfevents"
    assert len(time_) == 10
    assert abs(int(time_) - time.time()) < 60
    assert int(pid) == os.getpid()
    assert number.isdigit()
    assert file.get_logdir() == str(tmp_path)


def test_a_name_that_is_taken_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1.7e9)
    number = int(Path(EventFile("/dev/null/none").path).name.rsplit(".", 1)[1])
    prefix = Path(EventFile("/dev/null/none").path).name.rsplit(".", 1)[0]
    for taken in range(number + 1, number + 5):
        (tmp_path / f"{prefix}.{taken}").write_text("theirs")
    file = EventFile(tmp_path)
    file.close()
    assert not file.failed
    assert sorted(path.read_bytes() == b"theirs" for path in tmp_path.iterdir()) == [False, True, True, True, True]


def test_is_torchs_event_writer(tmp_path):
    torch_tb = pytest.importorskip("torch.utils.tensorboard")

    class Writer(torch_tb.SummaryWriter):
        def _get_file_writer(self):
            if self.file_writer is None:
                self.file_writer = torch_tb.FileWriter.__new__(torch_tb.FileWriter)
                self.file_writer.event_writer = EventFile(self.log_dir)
                self.all_writers = {self.log_dir: self.file_writer}
            return self.file_writer

    writer = Writer(str(tmp_path))
    writer.add_scalar("a", 1.5, 3)
    writer.add_text("t", "hello", 4)
    writer.add_histogram("h", np.arange(10), 5)
    writer.flush()
    (path,) = tmp_path.iterdir()
    assert steps_in(path) == [3, 4, 5]
    writer.add_scalar("a", 2.5, 6)
    writer.close()
    assert steps_in(path) == [3, 4, 5, 6]


def test_flush_waits_until_it_stands_there(file):
    for step in range(50):
        event = scalar("a", 1, step)
        file.add_event(event)
        file.flush()
        assert Path(file.path).read_bytes().endswith(frame(event.SerializeToString()))
    assert len(steps_in(file.path)) == 50


def test_written_without_a_flush_too(file):
    file.add_event(scalar("a", 1, 0))
    deadline = time.monotonic() + 10
    while not steps_in(file.path):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_threads_do_not_mix_their_records(file):
    def work(start):
        for step in range(start, start + 300):
            file.add_event(scalar("a", step, step))
            if step % 100 == 0:
                file.flush()

    threads = [threading.Thread(target=work, args=(1000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.flush()
    assert sorted(steps_in(file.path)) == sorted(1000 * i + j for i in range(4) for j in range(300))


def test_jobs_run_on_another_thread_in_order(file):
    done = []
    names = []

    def make():
        names.append(threading.current_thread().name)
        return [scalar("job", 1, 2).SerializeToString()]

    file.add_event(scalar("a", 1, 1))
    file.add_job(make, done.append)
    file.add_event(scalar("a", 1, 3))
    file.flush()
    assert done == [True]
    assert names == ["losslens-event-file"]
    assert steps_in(file.path) == [1, 2, 3]


def test_close_and_reopen(file):
    file.add_event(scalar("a", 1, 1))
    old = file.path
    file.close()
    file.close()
    file.add_event(scalar("a", 1, 2))
    file.flush()
    file.reopen()
    assert file.path != old
    file.add_event(scalar("a", 1, 3))
    file.reopen()
    file.flush()
    assert steps_in(old) == [1]
    assert steps_in(file.path) == [3]


def test_appends_to_a_given_file(file):
    file.add_event(scalar("a", 1, 1))
    file.close()
    second = EventFile(file.get_logdir(), path=file.path)
    second.add_event(scalar("a", 1, 2))
    second.close()
    assert steps_in(file.path) == [1, 2]
    events = list(LegacyEventFileLoader(str(file.path)).Load())
    assert [e.file_version for e in events if e.file_version] == ["brain.Event:2"]


def test_only_events(file):
    with pytest.raises(TypeError, match="expected an event_pb2"):
        file.add_event(b"bytes")


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


class TestAnAddress:
    """Not a directory of this machine: as `gs://`, through TensorBoard's file layer. fsspec's memory is such a place."""

    def content(self, file):
        import fsspec

        with fsspec.open(file.path, "rb") as stored:
            return stored.read()

    def test_is_written_by_tensorboards_file_layer(self, tmp_path, warnings):
        file = EventFile("memory://run1/", warn=warnings.append)
        assert file.path.startswith("memory://run1/events.out.tfevents.")
        for step in range(20):
            file.add_event(scalar("a", 1, step))
            file.flush()
        (tmp_path / "copy").write_bytes(self.content(file))
        assert steps_in(tmp_path / "copy") == list(range(20))
        file.add_event(scalar("a", 1, 20))
        file.close()
        (tmp_path / "copy").write_bytes(self.content(file))
        assert steps_in(tmp_path / "copy") == list(range(21))
        assert warnings == []

    def test_that_nothing_can_write_to_is_one_warning(self, warnings):
        file = EventFile("nosuch://bucket/run", warn=warnings.append)
        file.add_event(scalar("a", 1, 0))
        file.close()
        assert file.failed
        assert len(warnings) == 1
        assert "nosuch://bucket/run" in warnings[0]

    def test_takes_a_session_without_a_tail(self, tmp_path, warnings, monkeypatch):
        from tb_losslens.record.disk.session import Session
        from tb_losslens.store.logdir import load_runs

        monkeypatch.chdir(tmp_path)
        file = EventFile("memory://run2", warn=warnings.append)
        session = Session("memory://run2", file, warnings.append)
        for i in range(600):
            session.put({"loss": float(i)})
        session.close()
        file.close()
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "events.out.tfevents.1").write_bytes(self.content(file))
        assert load_runs(tmp_path)["."].loss.tolist() == list(range(600))
        assert warnings == []
