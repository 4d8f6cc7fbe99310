"""A sample that comes back in every epoch is one coincidence, however many batches it is in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.bad_rows import bad_rows
from tb_losslens.analysis.orders import samples_behind
from tb_losslens.analysis.outliers import gap_by_chance
from tb_losslens.store.run import Ragged, Run


def run_of(seed: int, freedom: float, *, bad: float = 0.0, samples: int = 1504, size: int = 16, epochs: int = 6) -> Run:
    """A regression on targets of Student's t: the loss is their square. Sample 17 may be `bad` times the largest of all."""
    rng = np.random.default_rng(seed)
    target = rng.standard_t(freedom, samples)
    if bad:
        target[17] = bad * np.abs(target).max()
    ids = np.concatenate([rng.permutation(samples) for _ in range(epochs)])
    drawn = target[ids].reshape(-1, size)
    run = Run.from_arrays(
        loss=(drawn**2).mean(axis=1),
        epoch_length=samples // size,
        batch_size=np.full(len(drawn), float(size)),
        target_mean=drawn.mean(axis=1),
        target_std=drawn.std(axis=1),
    )
    return replace(run, ragged={"sample_ids": Ragged(ids, np.arange(len(drawn) + 1) * size)})


@pytest.mark.parametrize(("freedom", "most"), [(1.3, 9), (2.0, 3), (30.0, 1)])
def test_the_largest_of_a_heavy_tail_is_not_bad(freedom: float, most: int) -> None:
    """At 1.3 degrees of freedom the largest is 20 times the next in 2 of 100 data sets; batches would count it 6 times."""
    assert sum(bool(bad_rows(run_of(seed, freedom))) for seed in range(100)) <= most


@pytest.mark.parametrize("freedom", [5.0, 30.0])
def test_a_sample_in_another_unit_is_found_in_every_data_set(freedom: float) -> None:
    found = [bad_rows(run_of(seed, freedom, bad=20)) for seed in range(20)]
    assert all(any(bad.ids == (17,) for bad in each) for each in found)


def test_the_law_of_a_gap_holds_for_a_power_law() -> None:
    """p < 0.05 comes in 5 of 100 where all values have one tail, for one and for three largest."""
    rng = np.random.default_rng(0)
    for k in (1, 3):
        low = 0
        for _ in range(1000):
            values = 1 + rng.pareto(1.5, 400)
            low += gap_by_chance(values, np.sort(np.argsort(-values)[:k]), len) < 0.05
        assert 35 < low < 65


def test_samples_behind_some_batches() -> None:
    run = run_of(0, 5.0)
    rows = np.flatnonzero([17 in row for row in run.ragged["sample_ids"].values.reshape(-1, 16)])
    assert len(rows) == 6
    assert samples_behind(run, rows) == 1
    assert samples_behind(run, np.arange(40, 46)) == 6  # of one epoch, in which no sample comes twice
    assert samples_behind(replace(run, ragged={}), rows) == 6
