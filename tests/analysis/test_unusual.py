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
    assert said(found, count).endswith(": 2 by loss, 1 by a loss that is not finite and 1 by gradient norm.")
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


def test_inputs_and_gradients_that_are_not_finite_are_listed() -> None:
    bad, mean, grad = np.zeros(2000), np.random.default_rng(1).normal(0, 1, 2000), np.ones(2000)
    bad[300], mean[[300, 900]], grad[1200] = 5, np.nan, np.inf  # the mean of 900 was not read
    found = unusual(Run.from_arrays(loss=falling(), input_nonfinite=bad, input_mean=mean, input_std=mean, grad_norm=grad))
    rows, count = furthest(found)
    assert {300, 1200} <= set(rows.tolist())
    assert np.isnan(found.inputs[900])
    assert found.inputs[300] == found.gradient[1200] == np.inf
    assert said(found, count).endswith("1 by a gradient norm that is not finite and 1 by inputs that are not finite.")


@pytest.mark.parametrize("loss", [[np.nan] * 60, [np.inf], [np.inf, np.nan] * 30], ids=["nan", "one", "both"])
def test_a_run_without_any_finite_loss_lists_all_its_batches(loss: list[float]) -> None:
    found = unusual(Run.from_arrays(loss=np.array(loss)))
    rows, count = furthest(found)
    assert (count, rows.tolist()) == (len(loss), list(range(len(loss))))
    assert said(found, count).endswith(f": {len(loss)} by a loss that is not finite.")
    assert furthest(unusual(Run.from_arrays(grad_norm=np.ones(60))))[1] == 0  # no loss was recorded


@pytest.mark.parametrize("loss", [[], [1.0], [2.0] * 200], ids=["empty", "one", "constant"])
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
