"""The fast reading of scalars against one that parses event by event."""

from __future__ import annotations

import time

import numpy as np
import pytest
from tensorboard.compat.proto import event_pb2, summary_pb2

from tb_losslens.record.disk.event_file import frame
from tb_losslens.store.logdir import events_in
from tb_losslens.store.records import Damage, all_records, scan_records
from tb_losslens.store.scalar_events import scalars_of


def scalar(tag, value, step, when=1.7e9):
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])
    return event_pb2.Event(wall_time=when, step=step, summary=summary)


def one_by_one(data):
    """What a plain loop over parsed events finds: tag to (step, time, value), in order."""
    out = {}
    for event in events_in(data):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                out.setdefault(value.tag, []).append((event.step, event.wall_time, value.simple_value))
    return out


def same(data):
    found, plain = scalars_of(data).points, one_by_one(data)
    assert sorted(found) == sorted(plain)
    for tag, rows in plain.items():
        step, when, value = (np.array(column) for column in zip(*rows, strict=True))
        np.testing.assert_array_equal(found[tag].step, step)
        np.testing.assert_array_equal(found[tag].time, when)
        np.testing.assert_array_equal(found[tag].value, value)
        assert (np.diff(found[tag].place) >= 0).all()


def events(seed, count=400):
    rng = np.random.default_rng(seed)
    tags = ["loss", "Loss/train", "ü/☃", "x" * 120, "x" * 121, "x" * 500, "a", "b"]
    steps = [0, 1, 127, 128, 300, 2**31, 2**62, -1, -5]
    out = [event_pb2.Event(wall_time=1.0, file_version="brain.Event:2")]
    for _ in range(count):
        kind = rng.integers(6)
        value, step = float(rng.choice([rng.normal(), np.nan, np.inf, 0.0])), int(rng.choice(steps))
        one = scalar(str(rng.choice(tags)), value, step, float(rng.choice([0.0, 1.5, 1.7e9 + rng.random()])))
        if kind == 0:
            one.summary.value.add(tag="second", simple_value=2.0)
        elif kind == 1:
            one.summary.value[0].metadata.plugin_data.plugin_name = "scalars"
        elif kind == 2:
            one = event_pb2.Event(step=step, summary=summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag="t")]))
        out.append(one)
    return [frame(one.SerializeToString()) for one in out]


@pytest.mark.parametrize("seed", range(6))
def test_every_point_is_that_of_a_loop_over_events(seed):
    same(b"".join(events(seed)))


@pytest.mark.parametrize("seed", range(6))
def test_damage_costs_what_it_hit(seed):
    """A cut end, a broken length and a hole in the middle: both readings take the same records."""
    records = events(seed)
    data = b"".join(records)
    rng = np.random.default_rng(seed)
    same(data[: int(rng.integers(len(data)))])
    at = len(b"".join(records[:100]))
    same(data[:at] + b"\x07" + data[at + 1 :])
    same(data[:at] + data[at + 9 :])
    spans = list(scan_records(data[:-3], Damage()))
    begin, end = all_records(data[:-3])
    assert list(zip(begin.tolist(), end.tolist(), strict=True)) == spans


def test_nothing_at_all():
    assert scalars_of(b"").points == {}
    assert scalars_of(b"no event file at all, only text").points == {}


def test_a_purge_is_known():
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    point = frame(scalar("loss", 1.0, 70).SerializeToString())
    assert scalars_of(frame(event_pb2.Event(step=70, session_log=start).SerializeToString()) + point).purge_step == 70
    assert scalars_of(point).purge_step is None


def test_many_points_take_a_fraction_of_the_time():
    points = [scalar(tag, 1.0 / (1 + k), k) for k in range(30_000) for tag in ("loss", "epoch")]
    data = b"".join(frame(point.SerializeToString()) for point in points)

    def seconds(read):
        start = time.process_time()
        read(data)
        return time.process_time() - start

    scalars_of(data)
    assert min(seconds(scalars_of) for _ in range(3)) < 0.5 * seconds(one_by_one)
