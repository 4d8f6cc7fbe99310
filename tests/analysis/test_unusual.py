"""Batches that lie far from those around them."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.outliers import level_at, local_level
from tb_losslens.analysis.unusual import FAR, furthest, said, unusual
from tb_losslens.store.run import Run


def falling(n: int = 2000, seed: int = 0) -> np.ndarray:
    return 1.0 + np.exp(-np.arange(n) / 500) + np.random.default_rng(seed).normal(0, 0.05, n)


def test_what_was_put_there_is_found_and_counted() -> None:
    loss = falling()
    grad = np.full(2000, np.nan)
    grad[::4] = np.random.default_rng(1).normal(2, 0.1, 500)
    loss[[300, 1500]] += 2.0
    grad[800] = 9.0
    loss[1700] = np.nan
    found = unusual(Run.from_arrays(loss=loss, grad_norm=grad))
    rows, count = furthest(found)
    assert {300, 800, 1500} <= set(rows.tolist())
    assert count == 4  # the NaN is one of them
    assert said(found, count).startswith("4 batches of 2,000 lie")
    assert said(found, count).endswith("3 by loss and 1 by gradient norm.")
    assert np.isnan(found.gradient[801])


def test_an_infinite_loss_is_the_furthest() -> None:
    loss = falling()
    loss[700] = np.inf
    found = unusual(Run.from_arrays(loss=loss))
    assert found.score[700] == np.inf
    assert 700 in furthest(found)[0].tolist()


def test_noise_has_next_to_none_and_the_furthest_are_shown_all_the_same() -> None:
    found = unusual(Run.from_arrays(loss=falling()))
    rows, count = furthest(found)
    assert count <= 1
    assert len(rows) == 10
    score = found.score
    assert set(rows.tolist()) == set(np.argsort(-score)[:10].tolist())


def test_of_many_the_furthest_200_are_kept() -> None:
    loss = falling()
    loss[::7] += np.linspace(1, 3, len(loss[::7]))
    found = unusual(Run.from_arrays(loss=loss))
    rows, count = furthest(found)
    assert len(rows) == 200
    assert count > 200
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("loss", [[], [1.0], [np.nan] * 60, [2.0] * 200], ids=["empty", "one", "nan", "constant"])
def test_little_data_is_no_error(loss: list[float]) -> None:
    found = unusual(Run.from_arrays(loss=np.array(loss, dtype=np.float64)))
    rows, count = furthest(found)
    assert (count, len(rows)) == (0, min(10, len(loss)))
    assert said(found, count)


@pytest.mark.parametrize("every", [1, 3])
def test_the_level_of_one_row_is_that_of_all(every: int) -> None:
    values = np.full(1234, np.nan)
    values[::every] = falling(1234)[::every]
    level, sigma = local_level(values)
    for row in (0, 1, 49, 50, 633, 1200, 1233):
        assert level_at(values, row) == pytest.approx((level[row], sigma[row]))
    assert np.isnan(level_at(np.full(5, np.nan), 2)).all()
    assert FAR > 4
