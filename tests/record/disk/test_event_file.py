import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.summary.writer.record_writer import RecordWriter

from tb_losslens.record.disk.event_file import EventFile, frame
from tests.record.disk.event_files import scalar, steps_in


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
