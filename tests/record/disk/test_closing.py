"""When a chunk of a session is closed, and which tag and step it gets."""

import math
import time

import numpy as np
import pytest

from tb_losslens.events.metadata import CHUNKS_PER_SHARD


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
