"""Processes of one training become one run, also where they do not agree."""

import numpy as np

from tb_losslens.record.order import OrderDigest
from tb_losslens.store.ranks import merge, rank_of
from tb_losslens.store.run import Ragged, Run, RunEvent


def part(steps, loss, shards=0, **columns):
    steps = np.asarray(steps)
    ragged = {"classes": Ragged.from_lists([[[1, 2], [int(step) + 5, 1]] for step in steps])}
    facts = {"model": {"class": "X", "shards": shards}} if shards else {}
    return Run("r", {"step": steps, "loss": np.asarray(loss, float), **columns}, ragged, facts=facts)


def test_rank_of():
    from pathlib import PurePath

    names = ("rank1", "a/rank12", "rank0", "rankx", "rank", "my_rank1", ".")
    assert [rank_of(PurePath(name)) for name in names] == [1, 12, 0, 0, 0, 0, 0]


def test_a_process_alone_stays_what_it_is():
    run = part([0, 1], [1.0, 2.0])
    assert merge(run, {}) is run
    assert merge(run, {1: Run("r")}) is run


def test_rows_are_matched_by_step_and_a_missing_one_does_not_count():
    run = merge(part([0, 1, 2, 5], [1.0, 2, 3, 4]), {1: part([1, 2, 3], [4.0, np.nan, 9]), 2: part([2], [6.0])})
    np.testing.assert_array_equal(run.step, [0, 1, 2, 5])
    np.testing.assert_array_equal(run.loss, [1, 3, np.nan, 4])  # a loss of one process that is none is none of the batch
    assert run.ragged["classes"][1].tolist() == [[1, 4], [6, 2]]
    assert run.ragged["classes"][0].tolist() == [[1, 2], [5, 1]]


def test_norms_of_parts_are_the_norm_of_the_whole_and_equal_ones_stay():
    norms = {"grad_norm": np.array([3.0, 3.0]), "batch_size": np.array([4, -1])}
    others = {"grad_norm": np.array([4.0]), "batch_size": np.array([6])}
    cut = merge(part([0, 1], [1, 1], 2, **norms), {1: part([0], [1], 2, **others)})
    np.testing.assert_array_equal(cut.columns["grad_norm"], [5.0, np.nan])
    whole = merge(part([0, 1], [1, 1], **norms), {1: part([0], [1], **others)})
    np.testing.assert_array_equal(whole.columns["grad_norm"], [3.0, 3.0])
    assert whole.columns["batch_size"].tolist() == [10, -1]


def test_steps_that_go_back_are_said_and_left_out():
    run = merge(part([0, 1, 2], [1.0, 1, 1]), {1: part([0, 2, 1], [5.0, 5, 5])})
    assert run.loss.tolist() == [1, 1, 1]
    assert run.problems == ("The steps of process 1 go back, so its batches could not be matched and are left out.",)


def ended(ids):
    digest = OrderDigest()
    digest.add(np.array(ids))
    run = part([0, 1], [1.0, 1.0])
    return Run("r", run.columns, run.ragged, (RunEvent("epoch_end", 2, 1, fields={"epoch": 0, **digest.fields()}),))


def test_the_samples_of_an_epoch_are_those_of_all():
    def field(name, *parts):
        return merge(ended(parts[0]), {n: ended(ids) for n, ids in enumerate(parts[1:], 1)}).events[0].fields[name]

    whole = OrderDigest()
    whole.add(np.arange(6))
    assert field("set_hash", [0, 4, 2], [5, 1, 3]) == whole.fields()["set_hash"]
    assert field("set_hash", [0, 4, 2], [5, 1, 2]) != whole.fields()["set_hash"]
    assert field("order_hash", [0, 1], [2, 3]) != field("order_hash", [0, 1], [3, 2])
    assert field("order_hash", [0, 1], [2, 3]) == field("order_hash", [0, 1], [2, 3])


def test_where_one_process_does_not_say_its_samples_the_set_is_unknown():
    run = merge(ended([0, 1]), {1: part([0, 1], [1.0, 1.0])})
    fields = run.events[0].fields
    assert fields["set_hash"] is None
    assert fields["order_hash"] == ended([0, 1]).events[0].fields["order_hash"]
