"""What shuffling leaves of the order of the data set, batch by batch."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tb_losslens.analysis.displacement import Displacement, displacement
from tests.analysis.causes.test_incomplete_shuffle import through_buffer


def _in_batches(ids: NDArray[np.int64], size: int) -> Displacement | None:
    return displacement(ids, np.arange(len(ids)) // size)


@pytest.mark.parametrize(("size", "total"), [(1, 1000), (50, 1000), (250, 1000), (500, 10000)])
def test_displacement_recovers_the_buffer(size: int, total: int) -> None:
    found = _in_batches(through_buffer(np.arange(total), size, np.random.default_rng(size)), 10)
    assert found is not None
    assert found.buffer == pytest.approx(0 if size == 1 else size, rel=0.12)
    shuffled = _in_batches(np.random.default_rng(0).permutation(total), 10)
    assert shuffled is not None
    assert np.isnan(shuffled.buffer)
    assert abs(shuffled.correlation) < 4 / np.sqrt(total)


def test_one_batch_has_no_order() -> None:
    assert _in_batches(np.arange(300), 300) is None
    two = _in_batches(np.arange(300), 150)
    assert two is not None
    assert two.correlation > 0.8
    assert two.neighbours > 0.9


@pytest.mark.parametrize("size", [150, 30, 4])
def test_order_within_a_batch_means_nothing(size: int) -> None:
    """Batches drawn at random hold their samples in the order of the data set, as some samplers give them."""
    drawn = np.random.default_rng(0).permutation(300).reshape(-1, size)
    found = _in_batches(np.sort(drawn, axis=1).ravel(), size)
    assert found is not None
    assert found.neighbours == 0
    assert abs(found.correlation) < 0.2


@pytest.mark.parametrize("size", [1, 10, 60])
def test_pieces_of_the_data_set_in_a_new_order_keep_their_neighbours(size: int) -> None:
    pieces = np.random.default_rng(1).permutation(np.arange(600).reshape(-1, 60))
    found = _in_batches(pieces.ravel(), size)
    assert found is not None
    assert found.neighbours > 0.9
