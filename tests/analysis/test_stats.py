"""Each statistic against a plain twin, a reference library or the truth of seeded data."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as reference

from tb_losslens.analysis import stats


@pytest.mark.parametrize("m", [1, 2, 3, 7, 8, 20])
def test_moving_sum_is_the_sum_of_each_window(m: int) -> None:
    values = np.random.default_rng(0).normal(size=20)
    assert np.allclose(stats.moving_sum(values, m), [values[i : i + m].sum() for i in range(21 - m)])


def test_moving_sum_is_empty_where_no_window_fits() -> None:
    assert len(stats.moving_sum(np.ones(3), 4)) == 0


def test_a_huge_value_spoils_only_its_own_windows() -> None:
    values = np.ones(100)
    values[10] = 1e300
    means = stats.moving_mean(values, 5)
    assert (means[:6] == 1).all()
    assert (means[11:] == 1).all()


def test_moving_mean_skips_gaps_until_half_of_a_window_is_missing() -> None:
    values = np.array([1.0, np.nan, 3.0, np.inf, np.nan, np.nan])
    assert np.allclose(stats.moving_mean(values, 4), [2.0, np.nan, np.nan], equal_nan=True)


def test_row_quantiles_are_those_of_numpy() -> None:
    rows = np.random.default_rng(1).normal(size=(30, 17))
    rows[rows > 1] = np.nan
    assert np.allclose(stats.row_quantile(rows, 0.2), np.nanquantile(rows, 0.2, axis=1))
    assert np.allclose(stats.row_median(rows), np.nanmedian(rows, axis=1))
    expected = reference.median_abs_deviation(rows, axis=1, nan_policy="omit", scale="normal")
    assert np.allclose(stats.row_sigma(rows), expected, rtol=1e-3)


def test_a_row_without_values_has_no_median() -> None:
    assert np.isnan(stats.row_median(np.full((2, 3), np.nan))).all()
    assert np.isnan(stats.row_median(np.empty((2, 0)))).all()


def test_noise_sees_the_noise_and_not_the_trend() -> None:
    rng = np.random.default_rng(2)
    values = 100 - 0.01 * np.arange(20_000) + 0.5 * rng.normal(size=20_000)
    values[::100] += 50
    assert stats.noise(values) == pytest.approx(0.5, rel=0.05)
    assert math.isnan(stats.noise(np.array([1.0, np.nan, 2.0])))


def test_sign_test_is_the_exact_binomial_test() -> None:
    for up, down in [(9, 1), (3, 3), (0, 12), (40, 20)]:
        values = np.array([1.0] * up + [-1.0] * down + [0.0, np.nan])
        assert stats.sign_test(values)[:2] == (up, down)
        assert stats.sign_test(values)[2] == pytest.approx(reference.binomtest(up, up + down).pvalue)
    assert stats.sign_test(np.array([])) == (0, 0, 1.0)


def test_signed_rank_p_counts_all_signs_of_the_ranks() -> None:
    values = np.array([0.3, -0.1, 2.0, 5.0, -0.7, 1.1, 4.0, 0.2])
    ranks = np.argsort(np.argsort(np.abs(values))) + 1
    seen = ranks[values > 0].sum()
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product([0, 1], repeat=len(ranks))]
    tail = np.mean([abs(s - ranks.sum() / 2) >= abs(seen - ranks.sum() / 2) for s in sums])
    assert stats.signed_rank_p(values) == pytest.approx(tail)
    assert stats.signed_rank_p(np.array([0.0, np.nan])) == 1.0


def test_rank_tests_are_silent_without_enough_values() -> None:
    rho, p = stats.rank_correlation(np.array([1, 2, 3]), np.array([1, 2, 3]))
    assert math.isnan(rho)
    assert p == 1.0
    assert stats.rank_correlation(np.ones(9), np.arange(9))[1] == 1.0
    assert stats.rank_correlation(np.array([1, 2, np.nan, 3, 4, 5]), np.array([1, 2, 9, 3, 4, 5]))[0] == pytest.approx(1)
    assert stats.rank_sum_p(np.array([]), np.ones(3)) == 1.0
    assert stats.rank_sum_p(np.arange(10), np.arange(20, 30)) < 0.001


@pytest.mark.parametrize("n", [51, 60, 300, 5000])
@pytest.mark.parametrize("ties", [False, True])
def test_signed_ranks_of_many_values_are_those_of_scipy(n: int, ties: bool) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(0.1, 1, n)
    values = np.round(values, 1) if ties else values
    known = values[values != 0]
    assert stats.signed_rank_p(values) == pytest.approx(reference.wilcoxon(known, method="approx").pvalue, rel=1e-9)
    np.testing.assert_array_equal(stats.ranks_of(values), reference.rankdata(values))
