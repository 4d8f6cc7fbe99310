"""Epochs of a plain log: exact where it tells them, none where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.store.plain_epochs import UNKNOWN, by_length, by_marks, by_restarts, by_tag, unclear


def right(labels, step, length, *, first=0, unknown=1):
    """True where each row has its epoch, or none, and none has at most `unknown` rows an epoch."""
    true = (step - first) // length
    assert labels.epoch is not None, labels.why
    known = labels.epoch != UNKNOWN
    np.testing.assert_array_equal(labels.epoch[known], true[known])
    assert (~known).sum() <= unknown * (int(true.max()) + 1)
    return True


@pytest.mark.parametrize("length", [37, 250, 500, 1001])
@pytest.mark.parametrize("decimals", [1, 2, 4, 16])
@pytest.mark.parametrize("every", [1, 10, 50])
def test_a_rounded_fraction_is_not_cut_where_it_reads_a_whole_number(length, decimals, every):
    """The step before the last of an epoch of 500 reads 1.0 with two decimals; its epoch is still the first."""
    step = np.arange(0, 12 * length, every)
    value = np.round(step / length, decimals).astype(np.float32).astype(np.float64)
    labels = by_tag(step, step, value)
    assert right(labels, step, length, unknown=2)
    if (length, decimals, every) == (500, 2, 1):
        early = np.flatnonzero(np.floor(value) > step // length)
        assert early[:3].tolist() == [498, 499, 998]  # what a cut at the value itself would take for the next epoch
        assert (labels.epoch[early] == step[early] // length).all()


@pytest.mark.parametrize("every", [1, 10, 50])
def test_steps_that_are_done_end_an_epoch(every):
    """`epoch` as Hugging Face's Trainer writes it: steps that are done, over those of an epoch, from 1 on."""
    step = np.arange(every, 6001, every)
    labels = by_tag(step, step, np.round(step / 500, 2))
    assert right(labels, step - 1, 500)


def test_steps_of_accumulated_batches_need_not_be_whole():
    step = np.arange(10, 4000, 10)
    labels = by_tag(step, step, np.round(step / 250.25, 2))
    true = np.ceil(step / 250.25).astype(int) - 1
    known = labels.epoch != UNKNOWN
    np.testing.assert_array_equal(labels.epoch[known], true[known])
    assert (~known).sum() < 20


def test_a_fraction_that_is_cut_is_one_too():
    step = np.arange(3000)
    labels = by_tag(step, step, np.floor(step / 500 * 100) / 100)
    assert right(labels, step, 500, unknown=3)


def test_a_fraction_of_no_one_length_is_trusted_far_from_whole_numbers_only():
    """Epochs of 400 and of 600 steps in turn."""
    lengths = [400, 600] * 4
    value = np.concatenate([k + np.arange(n) / n for k, n in enumerate(lengths)])
    true = np.repeat(np.arange(8), lengths)
    labels = by_tag(np.arange(4000), np.arange(4000), np.round(value, 2))
    known = labels.epoch != UNKNOWN
    np.testing.assert_array_equal(labels.epoch[known], true[known])
    assert known.mean() > 0.95


def test_whole_numbers():
    step = np.arange(49, 13_262 * 5, 50)
    labels = by_tag(step, step, (step // 13_262).astype(float))
    assert right(labels, step, 13_262, unknown=0)


def test_whole_numbers_that_are_rounded_are_seen():
    """`round(step / 500)` changes in the middle of each epoch."""
    step = np.arange(5000)
    labels = by_tag(step, step, np.round(step / 500))
    assert labels.epoch is None
    assert "rounded" in labels.why


def test_a_tag_that_is_written_rarely_leaves_losses_between_two_epochs_out():
    step = np.arange(1000)
    at = np.arange(0, 1000, 10)
    labels = by_tag(step, at, (at // 95).astype(float))
    known = labels.epoch != UNKNOWN
    np.testing.assert_array_equal(labels.epoch[known], (step // 95)[known])
    assert unclear(labels.epoch)[1]  # nine of them in a row are too many beside 95


@pytest.mark.parametrize(
    ("written", "rows", "expected"),
    [
        ([100, 200, 300], 300, [0] * 100 + [1] * 100 + [2] * 100),
        ([100, 200, 300], 340, [0] * 100 + [1] * 100 + [2] * 100 + [-1] * 40),
        ([0, 100, 200], 250, [0] * 100 + [1] * 100 + [2] * 50),
        ([1, 100, 200], 250, [-1] + [0] * 99 + [1] * 100 + [2] * 50),
    ],
)
def test_marks_at_the_end_or_at_the_start(written, rows, expected):
    assert by_marks(np.array(written), rows).epoch.tolist() == expected


@pytest.mark.parametrize("written", [[50, 150, 250], [0, 0, 0], [300, 300], [100]])
def test_marks_that_tell_nothing(written):
    assert by_marks(np.array(written), 300).epoch is None


def test_marks_at_unequal_distances_are_no_epochs_unless_they_name_them():
    assert by_marks(np.array([100, 150, 300]), 300, regular=0.02).epoch is None


@pytest.mark.parametrize("value", [[0.0, 1.0, 0.0], [0.0], [0.0, 0.0, 0.0]])
def test_a_tag_that_goes_back_or_has_one_epoch(value):
    assert by_tag(np.arange(30), np.arange(len(value)) * 10, np.array(value)).epoch is None


def test_lengths_that_the_user_gives():
    step = np.arange(0, 1000, 7)
    assert by_length(step, 100).epoch.tolist() == (step // 100).tolist()
    counted = by_length(np.arange(1, 301), 100).epoch  # 100 may end the first epoch, or begin the second
    assert counted[[0, 98, 99, 100, 199]].tolist() == [0, 0, UNKNOWN, 1, UNKNOWN]


def test_a_step_that_begins_again():
    assert by_restarts(np.tile(np.arange(50), 4)).epoch.tolist() == np.repeat(np.arange(4), 50).tolist()
    assert by_restarts(np.concatenate([np.arange(100), np.arange(90, 200)])).epoch is None
    assert by_restarts(np.concatenate([np.arange(100), np.arange(30), np.arange(70)])).epoch is None
