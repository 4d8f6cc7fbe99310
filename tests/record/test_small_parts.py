"""The parts of the recorder that need no training: order, steps, tags, jumps."""

import logging
import math
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from tb_losslens.record import arguments
from tb_losslens.record.batch import Batch
from tb_losslens.record.boundary_jump import BoundaryJump
from tb_losslens.record.deferred import Deferred
from tb_losslens.record.feed import Feed
from tb_losslens.record.guard import Guard
from tb_losslens.record.loss_tag import LossTag, is_held_out, is_loss, total_of
from tb_losslens.record.order import OrderDigest
from tb_losslens.record.step_number import StepNumber


def digest(*batches):
    one = OrderDigest()
    for ids in batches:
        one.add(None if ids is None else np.asarray(ids))
    return one.fields()


def test_order_digest_does_not_depend_on_how_ids_are_batched():
    ids = np.random.default_rng(0).permutation(10_000)
    whole = digest(ids)
    assert digest(*np.array_split(ids, 77)) == whole
    assert whole["first_ids"] == ids[:16].tolist()
    assert whole["last_ids"] == ids[-16:].tolist()


def test_order_digest_tells_order_from_set():
    forward, back = digest([1, 2, 3]), digest([3, 2], [1])
    assert forward["set_hash"] == back["set_hash"]
    assert forward["order_hash"] != back["order_hash"]
    sets = [digest(ids)["set_hash"] for ids in ([1, 2, 3], [1, 2, 4], [1, 2, 3, 3], [1, 1, 2], [1, 2, 2], [0, 6], [2, 4], [])]
    assert len(set(sets)) == 8


def test_order_digest_is_unknown_with_one_unknown_batch():
    assert digest([1, 2], None, [3]) == {"order_hash": None, "set_hash": None, "first_ids": [], "last_ids": []}
    assert digest()["order_hash"] is None


def test_steps():
    numbers = StepNumber()
    assert [numbers.of(step) for step in (None, None, 5, 6, 7, 3, 4)] == [0, 1, 5, 6, 7, 3, 4]
    assert [numbers.of(step) for step in (None, 3, None, 20)] == [5, 6, 7, 20]
    numbers = StepNumber(100)
    assert [numbers.of(step) for step in (None, None, 1, None)] == [100, 101, 102, 103]
    numbers = StepNumber()
    assert (numbers.of(None), numbers.correct(40), numbers.of(None), numbers.correct(7)) == (0, 40, 41, None)


@pytest.mark.parametrize(
    "tag", ["Loss/val", "val_loss", "valLoss", "Loss/Validation", "test/loss", "eval-loss", "loss.dev", "HeldOut/loss"]
)
def test_tags_of_held_out_losses(tag):
    assert is_loss(tag)
    assert is_held_out(tag)


@pytest.mark.parametrize(
    "tag", ["Loss/train", "loss", "interval_loss", "value_loss", "latest_loss", "evaluator/loss", "device_loss"]
)
def test_tags_of_training_losses(tag):
    assert is_loss(tag)
    assert not is_held_out(tag)


def test_a_tag_is_taken_at_its_second_batch_of_one_epoch():
    tag = LossTag()
    assert not tag.row(0, {"loss": 1})
    assert not tag.row(1, {"loss": 1})
    assert not tag.row(1, {"loss": 2})
    assert not tag.row(1, {"loss": 1})
    assert tag.row(1, {"loss": 1})
    assert tag.tag == "loss"
    assert tag.may_be("loss")
    assert not tag.may_be("other_loss")


@pytest.mark.parametrize(
    ("tags", "whole"),
    [
        (["loss/total", "loss/aux"], "loss/total"),
        (["train/loss", "train/total_loss"], "train/total_loss"),
        (["TotalLoss", "loss_cls", "loss_box"], "TotalLoss"),
        (["train/loss_cls", "train/loss"], "train/loss"),
        (["Loss/train", "Loss/kl"], "Loss/train"),
        (["loss", "loss_ema", "aux_loss"], "loss"),
        (["trainLoss", "smoothLoss"], "trainLoss"),
        (["Loss/a", "Loss/b"], None),
        (["D_loss", "G_loss"], None),
        (["loss", "train/loss"], None),
        (["total_loss/a", "total_loss/b", "loss"], None),
    ],
)
def test_the_whole_loss_among_its_parts(tags, whole):
    assert total_of(tags) == whole
    assert total_of(tags[::-1]) == whole


def feed_of(*indices):
    feed = Feed()
    for index in indices:
        feed.push(Batch(index=index))
    return feed


def test_feed_without_look_ahead():
    feed = Feed()
    for index in range(4):
        feed.push(Batch(index=index))
        assert feed.take(set).index == index
        assert feed.take(set) is None


def test_feed_of_accumulation_seen_by_its_updates_only():
    """Four batches are pulled for each update: each update belongs to the last of them."""
    feed, taken = Feed(), []
    for index in range(12):
        feed.push(Batch(index=index))
        if index % 4 == 3:
            taken.append(feed.take().index)
            assert feed.revised is None
    assert taken == [3, 7, 11]


def test_feed_revises_its_first_answer_under_look_ahead():
    feed = feed_of(0, 1)
    assert feed.take().index == 1
    assert feed.undecided
    feed.push(Batch(index=2))
    assert feed.take().index == 1
    assert feed.revised.index == 0
    assert not feed.undecided
    feed.push(Batch(index=3))
    assert feed.take().index == 2
    feed.end()
    assert feed.take().index == 3
    assert feed.take() is None


def test_feed_forgets_a_loop_that_was_left():
    feed = Feed()
    feed.push(Batch(index=0, source="a"))
    feed.push(Batch(index=1, source="b"))
    assert feed.holds("a")
    feed.drop("a")
    assert not feed.holds("a")
    assert feed.take(set).index == 1


def jumps_of(losses, epochs):
    found = []
    one = BoundaryJump(lambda jump, step: found.append((step, jump)))
    for step, (loss, epoch) in enumerate(zip(losses, epochs, strict=True)):
        one.add(loss, epoch, step)
    return found


def test_jump_against_plain_means():
    losses = np.random.default_rng(0).normal(size=1500)
    epochs = np.repeat([0, 1, 2], 500)
    assert jumps_of(losses, epochs) == [
        (500, pytest.approx(losses[500:510].mean() - losses[490:500].mean())),
        (1000, pytest.approx(losses[1000:1010].mean() - losses[990:1000].mean())),
    ]


def test_jumps_of_short_and_broken_epochs():
    assert jumps_of([1, 1, 1, 1, 4, 4, 4, 4], [0] * 4 + [1] * 4) == [(4, 3.0)]
    assert jumps_of([1.0, 2.0, 4.0], [0, 1, 2]) == [(1, 1.0), (2, 2.0)]
    assert jumps_of([1.0, math.nan, 4.0], [0, 1, 2]) == []
    assert jumps_of([1.0] * 9, [-1] * 9) == []


def test_deferred_values_come_back_by_name():
    deferred = Deferred()
    assert deferred.ready
    assert deferred.result() == {}
    deferred.add("a", torch.tensor(1.5, requires_grad=True))
    deferred.add("b", torch.tensor(3))
    assert deferred.ready
    deferred.add("c", torch.tensor([7.0]))
    assert deferred.result() == {"a": 1.5, "b": 3.0, "c": 7.0}
    assert deferred.names == []


def test_guard_names_a_collector_once_and_keeps_the_rest():
    guard = Guard()

    def broken():
        raise KeyError("x")

    with pytest.warns(RuntimeWarning, match=r"LossLens: norms is not recorded.*KeyError: 'x'") as caught:
        results = [guard.call("norms", broken) for _ in range(3)]
    assert results == [None, None, None]
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert guard.call("other", lambda: 3) == 3
    assert guard.spent > 0
    guard.alive = False
    assert guard.call("other", lambda: 3) is None


def test_guard_logs_where_warnings_are_errors(caplog):
    guard = Guard()
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "tb_losslens"):
        warnings.simplefilter("error")
        guard.call("norms", lambda: 1 / 0)
    assert "norms is not recorded" in caplog.text


def test_guard_does_what_waited_when_the_outermost_call_ends():
    guard, done = Guard(), []

    def inner():
        guard.when_idle(lambda: done.append(guard.busy))
        guard.call("inner", lambda: None)
        assert done == []

    guard.call("outer", inner)
    assert done == [False]
    guard.when_idle(lambda: done.append("now"))
    assert done == [False, "now"]


def test_guard_is_not_confused_by_other_threads():
    guard = Guard()
    worker = threading.Thread(target=lambda: guard.call("loader", lambda: seen.append(guard.busy)))
    seen = []
    worker.start()
    worker.join()
    assert seen == [False]


@pytest.mark.parametrize("number", [2**65, -(2**70), 2**54])
def test_a_number_that_no_file_can_hold_is_refused_with_a_sentence(number):
    with pytest.raises(ValueError, match=r"at most 2\*\*53"):
        arguments.integer("start_epoch(epoch)", number)


def test_time_in_which_others_have_the_processor_is_told_apart():
    """A collector that stands still costs the training time, but says nothing of what the next call will cost."""
    guard = Guard()
    guard.call("one", time.sleep, 0.05)
    assert guard.spent >= 0.05
    assert guard.stood == pytest.approx(guard.spent, rel=0.5)

    def work():
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass

    stood = guard.stood
    spent = guard.spent
    guard.call("two", work)
    assert guard.spent - spent - (guard.stood - stood) == pytest.approx(0.05, rel=0.2)
