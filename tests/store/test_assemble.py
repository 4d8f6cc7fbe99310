"""Chunks of one or several sessions become one run."""

import numpy as np

from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.codec import Chunk, Packed, Record
from tb_losslens.events.tail import Tail
from tb_losslens.store.assemble import assemble
from tb_losslens.store.recording import Recording
from tb_losslens.store.run import Gap


def chunk(session, first, steps, records=(), **columns):
    """A chunk with a row for each step; its loss is the step over ten."""
    steps = np.asarray(steps)
    return Chunk(session, first, len(steps), {"step": steps, "loss": steps / 10, **columns}, tuple(records))


def facts(start, batch=0, **fields):
    return Record("facts", batch, 0, start, "", {"start": start, **fields})


def run_of(*chunks, now=1e9, **kwargs):
    return assemble("r", Recording(list(chunks), **kwargs), now=now)


def test_nothing():
    run = run_of()
    assert len(run) == 0
    assert run.loss.tolist() == []
    assert run.epochs == run.events == run.problems == run.sessions == ()
    assert not run.live


def test_chunks_in_any_order_are_one_run():
    run = run_of(chunk("s", 3, [3, 4]), chunk("s", 0, [0, 1, 2], [facts(5.0, model="MLP")]))
    assert run.name == "r"
    assert run.step.tolist() == [0, 1, 2, 3, 4]
    assert run.loss.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert run.facts == {"start": 5.0, "model": "MLP"}
    assert run.events == ()
    assert run.problems == ()
    assert run.sessions == ({"id": "s", "first_step": 0, "last_step": 4, "batches": 5, "start": 5.0, "closed": False},)


def test_a_newer_session_wins_from_its_first_step_on():
    old = chunk(
        "z-old",
        0,
        range(10),
        [
            facts(1.0, model="old", seed=1),
            Record("epoch_end", 5, 5),
            Record("save", 7, 7),
            Record("note", 8, 8),
            Record("closed", 10),
        ],
    )
    new = chunk("a-new", 0, range(7, 12), [facts(2.0, model="new"), Record("restore", 0, 7), Record("epoch_end", 3, 10)])
    run = run_of(new, old)
    assert run.step.tolist() == list(range(12))
    assert run.superseded == 3
    assert [s["id"] for s in run.sessions] == ["z-old", "a-new"]
    assert [s["batches"] for s in run.sessions] == [10, 5]
    assert run.facts == {"start": 2.0, "model": "new", "seed": 1}
    # the note belonged to rows that are no more, the save to the moment before the cut
    assert [(e.kind, e.batch) for e in run.events] == [("epoch_end", 5), ("save", 7), ("restore", 7), ("epoch_end", 10)]


def test_three_sessions_and_a_restart_from_scratch():
    run = run_of(
        chunk("s1", 0, range(5), [facts(1.0)]),
        chunk("s2", 0, range(3, 9), [facts(2.0)]),
        chunk("s3", 0, range(6, 8), [facts(3.0)]),
    )
    assert run.step.tolist() == list(range(8))
    assert run.superseded == 2 + 3
    again = run_of(chunk("s1", 0, range(5), [facts(1.0)]), chunk("s2", 0, range(2), [facts(2.0)]))
    assert again.step.tolist() == [0, 1]
    assert again.superseded == 5


def test_a_session_without_rows_overtakes_nothing():
    run = run_of(chunk("s1", 0, range(5), [facts(1.0)]), Chunk("s2", 0, 0, {}, (facts(2.0, late=1),)))
    assert len(run) == 5
    assert run.superseded == 0
    assert run.facts["late"] == 1
    assert run.sessions[1]["first_step"] is None


def test_steps_that_go_back_within_a_session_stay():
    run = run_of(chunk("s", 0, [0, 1, 2, 1, 2, 3], [facts(1.0)]))
    assert run.step.tolist() == [0, 1, 2, 1, 2, 3]
    assert run.superseded == 0


def test_events_of_a_session_whose_steps_go_back_before_the_cut():
    old = chunk("s1", 0, [0, 5, 1, 6, 2], [facts(1.0), Record("note", 1), Record("note", 3), Record("note", 5)])
    run = run_of(old, chunk("s2", 0, [4], [facts(2.0)]))
    assert run.step.tolist() == [0, 1, 2, 4]
    assert [e.batch for e in run.events] == [1, 2, 3]


def test_columns_that_are_not_everywhere_are_padded():
    run = run_of(
        chunk("s1", 0, [0, 1], [facts(1.0)], lr=np.array([0.5, 0.5], np.float32), count=np.array([3, 4], np.uint8)),
        chunk("s1", 2, [2], mine=np.array([7.5])),
        chunk("s2", 0, [3], [facts(2.0)], count=np.array([5])),
    )
    np.testing.assert_array_equal(run.columns["lr"], [0.5, 0.5, np.nan, np.nan])
    assert run.columns["lr"].dtype == np.float32
    np.testing.assert_array_equal(run.columns["mine"], [np.nan, np.nan, 7.5, np.nan])
    assert run.columns["count"].tolist() == [3, 4, -1, 5]
    assert run.columns["count"].dtype == np.int64


def test_integers_beside_floats_become_floats():
    run = run_of(
        chunk("s", 0, [0, 1], [facts(1.0)], x=np.array([-1, 2**40])),
        chunk("s", 2, [2], x=np.array([0.5], np.float32)),
        chunk("t", 0, [3], [facts(2.0)], x=np.array([-1])),
    )
    np.testing.assert_array_equal(run.columns["x"], [np.nan, 2.0**40, 0.5, np.nan])


def test_loss_is_float64_however_it_was_stored():
    run = run_of(Chunk("s", 0, 2, {"loss": np.array([0.5, np.nan], np.float32)}))
    assert run.columns["loss"].dtype == np.float64
    assert run.step.tolist() == [0, 1]


def test_without_steps_the_batch_is_the_step():
    first = Chunk("s", 0, 2, {"loss": np.zeros(2)}, (facts(1.0),))
    run = run_of(first, chunk("s", 2, [-1, 20]))
    assert run.step.tolist() == [0, 1, 2, 20]


def test_a_tail_that_stands_in_the_event_file_too_counts_once():
    note = Record("note", 2, 2, 7.0, "once")
    tail = Tail("s", 1.0, (chunk("s", 0, [0, 1]), chunk("s", 2, [2, 3, 4], [note])), {})
    run = run_of(chunk("s", 0, [0, 1], [facts(1.0)]), chunk("s", 2, [2, 3, 4], [note]), tails=[tail])
    assert run.step.tolist() == [0, 1, 2, 3, 4]
    assert len(run.events) == 1
    assert run.problems == ()


def test_a_tail_alone_is_a_run():
    run = run_of(tails=[Tail("s", 9.0, (chunk("s", 0, [0, 1]),), {})])
    assert run.step.tolist() == [0, 1]
    assert run.sessions[0]["start"] == 9.0


def test_what_is_lost_is_counted_in_sentences():
    run = run_of(
        chunk("s", 10, [10, 11], [facts(1.0)]),
        chunk("s", 13, [13]),
        Chunk("s", 14, 1, Packed({"later": pb.Column(name="later", dtype="<f8", shape=[1], encoding=99, data=bytes(8))})),
        corrupt=2,
        newer={9: 1},
        cut=[77],
        without_ids=3,
        nothing_in={"x.tfevents": 10},
    )
    assert run.problems == (
        "2 chunks are damaged and left out; the rest is shown.",
        "1 chunk was written by a newer LossLens (format 9) and left out: update tb_losslens to read them.",
        "11 of 15 batches could not be read in session s: 0 to 9, 12.",
        "The sample ids of 3 batches could not be read.",
        "1 column can only be read by a newer LossLens: later.",
        "An event file ends within a record: 77 bytes of it are left out.",
        "x.tfevents holds no complete event (10 bytes): nothing of it can be read.",
    )
    assert run.step.tolist() == [10, 11, 13, 14]
    assert run.gaps == (Gap(0, 10), Gap(2, 1))
    assert [run.continuous(*rows) for rows in ((0, 2), (1, 3), (2, 4), (0, 0), (2, 2))] == [True, False, True, True, True]


def test_why_batches_could_not_be_written():
    run = run_of(
        chunk("s", 0, [0, 1], [facts(1.0)]),
        Chunk(
            "s", 9, 0, {}, (Record("unwritten", 9, 0, 2.0, "", {"why": "No space left on device"}), Record("closed", 9, 0, 2.0))
        ),
    )
    assert run.problems == ("7 of 9 batches could not be written (No space left on device) in session s: 2 to 8.",)
    assert run.gaps == (Gap(2, 7),)
    assert run.events == ()


def test_many_holes_are_not_all_named():
    run = run_of(*[chunk("s", first, [first]) for first in range(0, 14, 2)])
    assert run.problems == ("6 of 13 batches could not be read in session s: 1, 3, 5, 7 and 2 more places.",)


def test_a_hole_in_what_was_overtaken_is_none():
    run = run_of(
        chunk("old", 0, [0, 1, 2], [facts(1.0)]),
        chunk("old", 4, [4, 5]),
        chunk("old", 8, [8, 9]),
        chunk("new", 0, [5, 6], [facts(2.0)]),
    )
    assert run.step.tolist() == [0, 1, 2, 4, 5, 6]
    assert run.gaps == (Gap(3, 1),)


def test_an_epoch_keeps_its_facts_where_others_are_missing():
    ends = [Record("epoch_end", 3 * (i + 1), 0, float(i), "", {"epoch": i, "order_hash": f"h{i}"}) for i in range(4)]
    epochs = {"epoch": np.zeros(3, int)}
    run = run_of(
        chunk("s", 0, [0, 1, 2], [facts(1.0)], **epochs),
        Chunk("s", 9, 0, {}, tuple(ends[:3])),
        chunk("s", 9, [9, 10, 11], ends[3:], epoch=np.full(3, 3)),
    )
    assert [(e.epoch, e.first, e.last, e.fields["order_hash"]) for e in run.epochs] == [(0, 0, 3, "h0"), (3, 3, 6, "h3")]


def test_why_nothing_is_there():
    assert run_of(newer={9: 2}).unread == "Written by a newer LossLens (format 9): update tb_losslens to read it."
    assert run_of(corrupt=1).unread == "The recording is damaged: no batch of it can be read."
    assert run_of(unreadable=["x could not be read: no."]).unread == "x could not be read: no."
    assert run_of(chunk("s", 0, [0]), corrupt=1, newer={9: 1}).unread == ""
    assert run_of().unread == ""
    assert run_of(nothing_in={"x": 0}).unread == run_of(chunk("s", 0, []), nothing_in={"x": 9}).unread != ""
    assert run_of(chunk("s", 0, []), nothing_in={"x": 0}).unread == ""  # begun, and not flushed yet


def test_nothing_is_shown_of_a_recording_that_is_damaged_throughout():
    assert run_of(corrupt=2).problems == ("2 chunks are damaged and left out.",)


def test_live_while_the_last_session_is_open_and_wrote_a_moment_ago():
    def live(*chunks, now, **kwargs):
        return run_of(*chunks, now=now, **kwargs).live

    time = np.array([100.0, 130.0])
    open_ = chunk("s", 0, [0, 1], [facts(100.0)], time=time)
    closed = chunk("s", 0, [0, 1], [facts(100.0), Record("closed", 2, 0, 131.0)], time=time)
    assert live(open_, now=150.0)
    assert not live(open_, now=200.0)
    assert live(open_, now=200.0, last_write=190.0)
    assert not live(closed, now=132.0)
    assert not live(open_, chunk("t", 0, [2], [facts(140.0), Record("closed", 1, 0, 141.0)]), now=142.0)


def test_lists_of_batches_and_ids_on_demand():
    pairs = {"classes": np.array([[1, 2], [3, 4], [5, 6]]), "classes.len": np.array([2, 1])}
    asked = []

    def ids():
        asked.append(1)
        yield Chunk("s", 0, 2, {"sample_ids": np.array([4, 5]), "sample_ids.len": np.array([1, 1])})

    tail_ids = {"sample_ids": np.array([6, 7]), "sample_ids.len": np.array([2])}
    tail = Tail("s", 1.0, (Chunk("s", 2, 1, {"loss": np.zeros(1), **tail_ids}),), {})
    run = run_of(Chunk("s", 0, 2, {"loss": np.zeros(2), **pairs}, (facts(1.0),)), tails=[tail], ids=ids, has_ids=True)
    assert set(run.ragged) == {"classes", "sample_ids"}
    assert [run.ragged["classes"][i].tolist() for i in range(3)] == [[[1, 2], [3, 4]], [[5, 6]], []]
    assert asked == []
    assert [run.ragged["sample_ids"][i].tolist() for i in range(3)] == [[4], [5], [6, 7]]
    assert "classes.len" not in run.columns
    assert "sample_ids" not in run.columns


def test_the_order_of_sessions_is_that_of_their_start_not_of_their_names():
    run = run_of(chunk("b", 0, [5], [facts(1.0)]), chunk("a", 0, [6], [facts(2.0)]), chunk("c", 0, [0], [facts(0.5)]))
    assert [s["id"] for s in run.sessions] == ["c", "b", "a"]
    assert run.step.tolist() == [0, 5, 6]
