"""How often all boundaries together are called a jump where there is none, on losses of the process itself."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, kstest

from benchmarks.power import share_found
from tb_losslens.analysis.finding import Pooled
from tb_losslens.analysis.jump import measure
from tb_losslens.store.run import Run
from tests.analysis.processes import fresh_samples

SEEDS = 200


@cache
def pooled() -> tuple[Pooled, ...]:
    """Of trainings on samples that never come again, with 12 "epochs" of 50 batches."""
    return tuple(measure(Run.from_arrays(loss=loss, epoch_length=50))[1] for loss in fresh_samples(SEEDS, 12, 50, seed=0))


def p_values() -> NDArray[np.float64]:
    return np.array([one.p for one in pooled()])


def test_p_is_uniform_or_conservative() -> None:
    """Kolmogorov and Smirnov's one-sided statistic: p is small no more often than that of a uniform law."""
    assert kstest(p_values(), "uniform", alternative="greater").pvalue > 0.01


def test_p_is_below_each_level_no_more_often_than_it_says() -> None:
    for level in (0.01, 0.05, 0.1, 0.25, 0.5):
        assert (p_values() < level).sum() <= binom.ppf(0.999, SEEDS, level)


def test_p_is_not_so_conservative_that_it_finds_nothing() -> None:
    assert np.quantile(p_values(), 0.1) < 0.35


def test_next_to_no_healthy_run_has_a_direction() -> None:
    assert sum(one.direction != 0 for one in pooled()) <= binom.ppf(0.999, SEEDS, 0.01)


def test_both_directions_are_as_likely() -> None:
    up, down = sum(one.up for one in pooled()), sum(one.down for one in pooled())
    assert abs(up - down) < 4 * np.sqrt(up + down)


def test_power_grows_with_the_size_and_with_the_boundaries() -> None:
    found = [share_found(size, boundaries, runs=40) for size, boundaries in ((0, 8), (1, 8), (2, 8), (1, 32))]
    assert found[0] <= 0.1
    assert found[1] < found[2]
    assert found[1] < found[3]
    assert found[2] > 0.5
