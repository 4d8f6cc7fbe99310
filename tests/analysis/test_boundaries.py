"""Where epochs meet, and when that is too little to judge."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.boundaries import find_cuts, refusal, window_sizes
from tb_losslens.store.run import Run


def why(run: Run) -> str:
    return refusal(run, find_cuts(run))


def test_cuts_lie_where_the_logged_epoch_changes() -> None:
    cuts = find_cuts(Run.from_arrays(loss=np.ones(9), epoch=[0, 0, 0, 1, 1, 1, 1, 5, 5]))
    assert cuts.first.tolist() == [0, 3]
    assert cuts.last.tolist() == cuts.start.tolist() == [3, 7]
    assert cuts.end.tolist() == [7, 9]
    assert cuts.epoch.tolist() == [1, 5]
    assert cuts.length == 3  # the last epoch may still be running


def test_rows_without_an_epoch_belong_to_neither_side() -> None:
    cuts = find_cuts(Run.from_arrays(loss=np.ones(7), epoch=[0, 0, 0, -1, 1, 1, 1]))
    assert (cuts.last.tolist(), cuts.start.tolist()) == ([3], [4])


@pytest.mark.parametrize("length", range(8, 2000, 7))
def test_window_sizes_leave_room_for_placebos(length: int) -> None:
    sizes = window_sizes(length)
    assert len(sizes) >= 2
    assert sizes[0] <= max(5, 0.02 * length + 1)
    assert all(3 * m <= length for m in sizes)


def test_window_sizes_are_two_percent_with_half_and_double() -> None:
    assert window_sizes(1000) == (20, 10, 40)
    assert window_sizes(100) == (5, 3, 10)
    assert window_sizes(7) == ()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Run("empty"), "No batch"),
        (Run.from_arrays(lr=np.ones(50), epoch_length=10), "loss was not recorded"),
        (Run.from_arrays(loss=np.ones(50)), "unknown where epochs begin"),
        (Run.from_arrays(loss=np.ones(50), epoch_length=50), "one epoch so far (50 batches)"),
        (Run.from_arrays(loss=np.ones(50), epoch_length=5), "An epoch has 5 batches"),
        (Run.from_arrays(loss=np.ones(50), epoch_length=30), "1 boundary; at least 2"),
        (Run.from_arrays(loss=np.ones(60), epoch_length=20), "The loss is 1 in each of 60 batches"),
        (Run.from_arrays(loss=np.zeros(60), epoch_length=20), "The loss is 0 in each of 60 batches"),
    ],
)
def test_too_little_is_refused_with_a_sentence(run: Run, words: str) -> None:
    assert words in why(run)
    assert why(run).endswith(".")


def test_enough_is_not_refused() -> None:
    assert why(Run.from_arrays(loss=np.arange(50) % 3, epoch_length=15)) == ""
