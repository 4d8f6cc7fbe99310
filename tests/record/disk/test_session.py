"""What is put comes back as a `Run`, whatever happens in between."""

import math
import time

import numpy as np
import pytest

from tb_losslens.events.metadata import parse_tag
from tb_losslens.record.disk.session import new_session_id


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


def test_session_ids():
    ids = [new_session_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert not any("/" in text for text in ids)
    assert parse_tag(f"losslens/{ids[0]}/b/3") == (ids[0], "b", 3)
    earlier = new_session_id()
    time.sleep(0.002)
    assert earlier < new_session_id()
