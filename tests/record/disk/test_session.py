"""What is put comes back as a `Run`, whatever happens in between."""

import math
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tb_losslens.events.codec import decode_chunk
from tb_losslens.events.metadata import CHUNKS_PER_SHARD, parse_tag
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session, new_session_id
from tb_losslens.store.logdir import events_in, load_runs


class Recording:
    """A session with its event file, and what went wrong."""

    def __init__(self, logdir):
        self.logdir = logdir
        self.warnings = []
        self.file = EventFile(logdir, warn=self.warnings.append)
        self.session = Session(logdir, self.file, self.warnings.append)

    def run(self):
        """As it is in the files at this moment."""
        return load_runs(self.logdir)["."]

    def close(self):
        self.session.close()
        self.file.close()

    def written(self):
        """Batches in the event file, without the tail."""
        self.file.flush()
        return sum(chunk.count for chunk in _chunks(Path(self.file.path).read_bytes()))

    def tags(self):
        """Tag and step of each chunk in the event file."""
        events = events_in(Path(self.file.path).read_bytes())
        return [(parse_tag(v.tag), e.step) for e in events for v in e.summary.value if parse_tag(v.tag)]


def _chunks(data):
    values = [value for event in events_in(data) for value in event.summary.value]
    return [decode_chunk(v.tensor.string_val[0]) for v in values if parse_tag(v.tag) and parse_tag(v.tag)[1] == "b"]


@pytest.fixture
def recording(tmp_path):
    recording = Recording(tmp_path)
    yield recording
    recording.close()
    assert recording.warnings == []
    assert not list(tmp_path.glob("*.tail"))


def test_every_value_comes_back_bit_for_bit(recording):
    rng = np.random.default_rng(0)
    losses, norms = rng.normal(size=3000), rng.lognormal(size=3000).astype(np.float32)
    for i in range(3000):
        row = {"loss": losses[i], "step": 10 * i, "epoch": i // 100, "index": i % 100, "grad_norm": float(norms[i])}
        assert recording.session.put(row) == i
    for when in ("with a tail", "closed"):
        run = recording.run()
        assert len(run) == 3000, when
        assert run.columns["loss"].dtype == np.float64
        np.testing.assert_array_equal(run.columns["loss"], losses)
        np.testing.assert_array_equal(run.columns["grad_norm"], norms)
        np.testing.assert_array_equal(run.step, 10 * np.arange(3000))
        np.testing.assert_array_equal(run.columns["epoch"], np.arange(3000) // 100)
        assert len(run.epochs) == 30
        assert not run.problems
        assert run.live is (when == "with a tail")
        recording.close()


def test_rows_are_readable_at_once_without_a_flush(recording):
    for i in range(5):
        recording.session.put({"loss": i}, ids=[i, i + 1], classes=[[0, i]])
        run = recording.run()
        assert run.loss.tolist() == list(range(i + 1))
        assert run.ragged["sample_ids"][i].tolist() == [i, i + 1]
        assert run.ragged["classes"][i].tolist() == [[0, i]]


def test_flush_moves_everything_to_the_event_file(recording):
    recording.session.put({"loss": 1.0}, ids=[5])
    recording.session.record("note", text="hello")
    recording.session.flush()
    for tail in recording.logdir.glob("*.tail"):
        tail.rename(tail.with_suffix(".hidden"))
    run = recording.run()
    assert run.loss.tolist() == [1.0]
    assert run.ragged["sample_ids"][0].tolist() == [5]
    assert [event.text for event in run.events] == ["hello"]
    for tail in recording.logdir.glob("*.hidden"):
        tail.rename(tail.with_suffix(".tail"))


def test_lists_of_all_kinds(recording):
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, top, n) for top, n in [(100, 4), (70_000, 3), (2**25, 2), (2**40, 1), (10, 0)]]
    for i, batch in enumerate(ids):
        lists = {"per_sample": batch * 0.5, "mine": [i] * i} if i else None
        recording.session.put({"loss": 0.0}, ids=batch, classes=np.array([[c, 1] for c in batch[:2]]), lists=lists)
    recording.session.put({"loss": 0.0})
    for _ in range(2):
        run = recording.run()
        assert sorted(run.ragged) == ["classes", "mine", "per_sample", "sample_ids"]
        for i, batch in enumerate(ids):
            np.testing.assert_array_equal(run.ragged["sample_ids"][i], batch)
            np.testing.assert_array_equal(run.ragged["per_sample"][i], batch * 0.5 if i else [])
            assert run.ragged["mine"][i].tolist() == [i] * i
            assert len(run.ragged["classes"][i]) == min(2, len(batch))
        assert all(len(lists) == 6 and len(lists[5]) == 0 for lists in run.ragged.values())
        recording.session.flush()


def test_ids_stand_apart_from_columns(recording):
    recording.session.put({"loss": 0.0}, ids=[1, 2], classes=[[1, 2]])
    recording.session.flush()
    assert [tag[1] for tag, _ in recording.tags()] == ["b", "i"]


def test_amend_changes_the_newest_row_only(recording):
    recording.session.put({"loss": 1.0, "grad_norm": math.nan})
    recording.session.put({"loss": 2.0, "grad_norm": math.nan})
    recording.session.amend({"grad_norm": 9.0})
    recording.session.amend({"loss": 3.0})
    np.testing.assert_array_equal(recording.run().columns["grad_norm"], [math.nan, 9.0])
    recording.session.flush()
    recording.session.amend({"loss": 4.0})
    assert recording.run().loss.tolist() == [1.0, 3.0]


@pytest.mark.parametrize("rows", [1, 2, 300])
def test_amend_may_bring_a_new_column(recording, rows):
    recording.session.record("note", text="before")
    for i in range(rows):
        recording.session.put({"loss": float(i)}, ids=[i, i])
    recording.session.record("note", text="after")
    recording.session.amend({"extra": 7, "half": 0.5})
    recording.session.put({"loss": -1.0})
    for _ in range(2):
        run = recording.run()
        assert run.loss.tolist() == [*range(rows), -1.0]
        assert run.columns["extra"].tolist() == [-1] * (rows - 1) + [7, -1]
        np.testing.assert_array_equal(run.columns["half"], [math.nan] * (rows - 1) + [0.5, math.nan])
        assert [run.ragged["sample_ids"][i].tolist() for i in range(rows + 1)] == [[i, i] for i in range(rows)] + [[]]
        assert [(event.text, event.batch) for event in run.events] == [("before", 0), ("after", rows)]
        recording.session.flush()


def test_columns_may_come_go_and_change_their_type(recording):
    rows = [{"loss": 1.0}, {"loss": 2.0, "a": 1}, {"a": 2}, {"a": 2.5, "loss": 3}, {"b": True, "loss": None}, {"loss": 4.0}]
    for row in rows:
        recording.session.put(row)
    for _ in range(2):
        run = recording.run()
        np.testing.assert_array_equal(run.loss, [1.0, 2.0, math.nan, 3.0, math.nan, 4.0])
        np.testing.assert_array_equal(run.columns["a"], [math.nan, 1, 2, 2.5, math.nan, math.nan])
        assert run.columns["b"].tolist() == [-1, -1, -1, -1, 1, -1]
        recording.session.flush()


def test_a_value_that_is_no_number_costs_nothing_else(recording):
    recording.session.put({"loss": 1.0, "a": 1}, ids=[1])
    with pytest.raises(ValueError, match="column 'a' must be a number, got 'x'"):
        recording.session.put({"loss": 2.0, "a": "x"}, ids=[2])
    with pytest.raises(ValueError, match="column 'new'"):
        recording.session.put({"loss": 2.0, "new": "x"}, ids=[2])
    with pytest.raises(ValueError, match="column 'a'"):
        recording.session.amend({"a": "x", "loss": 1.5})
    with pytest.raises(ValueError, match="a list of numbers"):
        recording.session.put({"loss": 2.0}, ids=["a", "b"])
    assert recording.session.put({"loss": 3.0, "a": 2}, ids=[3]) == 1
    run = recording.run()
    assert run.loss.tolist() == [1.0, 3.0]
    assert [run.ragged["sample_ids"][i].tolist() for i in range(2)] == [[1], [3]]


def test_numpy_numbers_are_numbers(recording):
    recording.session.put({"loss": np.float32(0.5), "step": np.int64(7), "n": np.int32(3)})
    recording.session.put({"loss": np.array(1.5), "step": 8, "n": np.int64(2**40)})
    run = recording.run()
    assert run.loss.tolist() == [0.5, 1.5]
    assert run.step.tolist() == [7, 8]
    assert run.columns["n"].tolist() == [3, 2**40]


def test_events_stand_where_they_happened(recording):
    recording.session.record("epoch_begin", step=5, text='<b>"x"</b> ünï/codé', fields={"epoch": 0, "f": lambda: 0})
    recording.session.put({"loss": 1.0})
    recording.session.put({"loss": 2.0})
    recording.session.record("save", batch=1, step=6, when=123.5)
    recording.session.record("epoch_end", step=7, fields={"epoch": 0, "order_hash": None})
    recording.session.put({"loss": 3.0})
    recording.session.record("validation_end", fields={"value": math.nan, "epoch": 0})
    for _ in range(2):
        events = recording.run().events
        assert [(e.kind, e.batch, e.step) for e in events] == [
            ("epoch_begin", 0, 5),
            ("save", 1, 6),
            ("epoch_end", 2, 7),
            ("validation_end", 3, 0),
        ]
        assert events[0].text == '<b>"x"</b> ünï/codé'
        assert "function" in events[0].fields["f"]
        assert events[1].time == 123.5
        assert abs(events[2].time - time.time()) < 60
        assert math.isnan(events[3].fields["value"])
        recording.session.flush()


def test_large_records_and_lists_beyond_a_segment(recording):
    recording.session.put({"loss": 0.0})
    recording.session.record("note", text="x" * 2_000_000)
    ids = np.arange(300_000)
    for i in range(3):
        recording.session.put({"loss": float(i)}, ids=ids + i)
    recording.session.flush()
    run = recording.run()
    assert len(run.events[0].text) == 2_000_000
    assert len(run) == 4
    np.testing.assert_array_equal(run.ragged["sample_ids"][3], ids + 2)


def test_rows_of_very_many_columns(recording):
    names = [f"layer.{i:0200}.weight.norm" for i in range(3000)]  # more than a segment of the usual size holds
    recording.session.put({"loss": 0.0}, ids=[1])
    recording.session.record("note", text="kept")
    for i in range(3):
        recording.session.put({"loss": 1.0, **dict.fromkeys(names, float(i))}, ids=[1])
    for _ in range(2):
        run = recording.run()
        assert len(run) == 4
        assert run.columns[names[-1]][1:].tolist() == [0.0, 1.0, 2.0]
        assert [event.text for event in run.events] == ["kept"]
        recording.session.flush()


def test_chunks_close_at_256_rows_and_64_kib(recording):
    for i in range(600):
        recording.session.put({"loss": float(i)})
    recording.file.flush()
    assert [step for _, step in recording.tags()] == [0, 256]
    many = {f"c{i}": 0.5 for i in range(100)}
    for _ in range(200):
        recording.session.put(many)
    recording.file.flush()
    # 101 columns of 8 bytes: 81 rows are 64 KiB; row 600 had to begin a new chunk
    assert [step for _, step in recording.tags()] == [0, 256, 512, 600, 681]


def test_chunks_close_in_time(recording, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    recording.session._begin = now
    recording.session._set_due()
    ends = []
    recording.session.put({"loss": 1.0})
    for _ in range(4000):
        now += 0.1
        before = recording.session._due
        recording.session.put({"loss": 1.0})
        if recording.session._due != before:
            ends.append(now)
    lengths = np.diff(ends)
    assert lengths[:5] == pytest.approx(0.5, abs=0.11)
    assert lengths[-1] == pytest.approx(0.5, abs=0.11)  # 400 s: a thousandth is below half a second
    now += 30_000
    recording.session.put({"loss": 1.0})
    assert recording.session._due - now == pytest.approx(30.4, abs=0.2)
    now += 3e6
    recording.session.put({"loss": 1.0})
    assert recording.session._due - now == pytest.approx(60.0)


def test_a_loss_that_is_not_finite_closes_its_chunk_with_what_is_amended(recording):
    for bad in (math.nan, math.inf, -math.inf):
        recording.session.put({"loss": bad, "step": 1})
        recording.session.amend({"grad_norm": 3.0})
        recording.session.put({"loss": 1.0, "step": 2})
        assert recording.written() == recording.session.batches - 1
    assert recording.run().columns["grad_norm"][0] == 3.0


def test_the_end_of_an_epoch_closes_its_chunk(recording):
    recording.session.put({"loss": 1.0})
    recording.session.record("epoch_end")
    recording.file.flush()
    assert len(recording.tags()) == 1
    recording.session.record("epoch_end")
    recording.file.flush()
    assert len(recording.tags()) == 1


def test_steps_of_a_tag_rise_and_shards_hold_ten(recording):
    for i in range(35):
        recording.session.put({"loss": float(i)}, ids=[i])
        recording.session.record("note")
        recording.session.flush()
        if i % 7 == 0:
            recording.session.record("note")
            recording.session.flush()  # a chunk without rows, which begins where the next one begins
    by_tag = {}
    for tag, step in recording.tags():
        by_tag.setdefault(tag, []).append(step)
    for steps in by_tag.values():
        assert len(steps) <= CHUNKS_PER_SHARD
        assert all(np.diff(steps) > 0)
    assert len([tag for tag in by_tag if tag[1] == "i"]) == 4
    assert recording.run().loss.tolist() == list(range(35))
    assert len(recording.run().events) == 40


def test_session_ids():
    ids = [new_session_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert not any("/" in text for text in ids)
    assert parse_tag(f"losslens/{ids[0]}/b/3") == (ids[0], "b", 3)
    earlier = new_session_id()
    time.sleep(0.002)
    assert earlier < new_session_id()


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
