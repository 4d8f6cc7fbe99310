"""Change points against ruptures, which is exact on the same problem and far slower."""

from __future__ import annotations

import numpy as np
import pytest
import ruptures

from tb_losslens.analysis.change_points import change_points, refined


def steps(seed: int, n: int = 400) -> np.ndarray:
    """Noise with up to six changes of level of several sizes."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.choice(np.arange(20, n - 20), size=int(rng.integers(0, 7)), replace=False))
    level = np.zeros(n)
    for cut in cuts:
        level[cut:] += rng.normal() * 3
    return level + rng.normal(size=n)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("penalty", [10.0, 40.0])
def test_the_same_cuts_as_ruptures(seed: int, penalty: float) -> None:
    values = steps(seed)
    theirs = ruptures.Binseg(model="l2", min_size=8, jump=1).fit(values).predict(pen=penalty)
    assert change_points(values, penalty=penalty) == theirs[:-1]


def test_clear_steps_are_where_the_exact_search_puts_them() -> None:
    values = np.repeat([0.0, 5.0, 1.0, 6.0], 50) + np.random.default_rng(0).normal(size=200)
    exact = ruptures.Dynp(model="l2", min_size=8, jump=1).fit(values).predict(n_bkps=3)[:-1]
    assert refined(values, change_points(values, penalty=50.0)) == exact == [50, 100, 150]


def test_a_place_that_an_earlier_cut_moved_is_mended() -> None:
    """Two opposite changes close to each other: the first cut of all lies beside them."""
    off = moved = 0
    for seed in range(30):
        values = np.zeros(300)
        values[130:170] = 2.0
        values += np.random.default_rng(seed).normal(size=300)
        plain = change_points(values, penalty=25.0)
        if len(plain) == 2:
            again = refined(values, plain)
            off += abs(plain[0] - 130) + abs(plain[1] - 170)
            moved += abs(again[0] - 130) + abs(again[1] - 170)
    assert 0 < moved <= off


def test_noise_has_none_and_short_or_constant_series_neither() -> None:
    rng = np.random.default_rng(1)
    assert sum(bool(change_points(rng.normal(size=2000), penalty=4 * np.log(2000))) for _ in range(100)) <= 5
    assert change_points(np.empty(0), penalty=1.0) == change_points(np.ones(5), penalty=1.0) == []
    assert change_points(np.full(1000, 3.0), penalty=1e-9) == []
