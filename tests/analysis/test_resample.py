"""Intervals that hold the truth as often as they say, and draws in which the parts add up."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tb_losslens.analysis.resample import draw, once


@pytest.mark.parametrize("m", [3, 5, 20])
@pytest.mark.parametrize("law", ["normal", "skewed"])
def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says(m: int, law: str) -> None:
    rng = np.random.default_rng(m)
    held = 0
    for trial in range(400):
        noise = rng.normal(size=2 * m) if law == "normal" else rng.exponential(size=2 * m)
        before, after = noise[:m], 0.7 + noise[m:]
        drawn = draw((m, m), seed=trial)
        assert drawn is not None
        low, high = drawn.interval(float(after.mean() - before.mean()), drawn.difference(before, after))
        held += low <= 0.7 <= high
    assert 0.90 <= held / 400 <= 0.995


def test_the_first_draw_is_the_windows_themselves() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=6), rng.normal(size=9)
    after[2] = math.nan
    drawn = draw((6, 9), seed=1)
    assert drawn is not None
    expected = np.nanmean(after) - before.mean()
    assert drawn.difference(before, after)[0] == pytest.approx(expected)
    assert once(6, 9).difference(before, after)[0] == pytest.approx(expected)
    heavy = (np.array([5.0, 1, 1, 1, 1, 1]), np.ones(9))
    weighted = np.nanmean(after) - np.average(before, weights=heavy[0])
    assert drawn.difference(before, after, weight=heavy)[0] == pytest.approx(weighted)
    assert (drawn.before.sum(axis=1) == 6).all()
    assert (drawn.after.sum(axis=1) == 9).all()


def test_draws_are_the_same_each_time_and_few_batches_have_none() -> None:
    first, second = draw((5, 5), seed=7), draw((5, 5), seed=7)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.before, second.before)
    np.testing.assert_array_equal(first.normal(2.0), second.normal(2.0))
    assert first.normal(1.0)[0] == 0
    assert not first.normal(math.nan).any()
    assert draw((2, 9), seed=7) is None


def test_wide_windows_take_fewer_draws() -> None:
    drawn = draw((30_000, 30_000), seed=0)
    assert drawn is not None
    assert len(drawn) == 200


def test_values_that_are_not_known_have_no_interval() -> None:
    drawn = draw((5, 5), seed=0)
    assert drawn is not None
    nothing = drawn.difference(np.full(5, np.nan), np.ones(5))
    assert all(map(math.isnan, drawn.interval(1.0, nothing)))
