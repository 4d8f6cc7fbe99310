"""Few boundaries judged by their distances from their own placebos: silent on noise, awake where signs alone say nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tb_losslens.analysis.few import p_by_size, together
from tb_losslens.analysis.jump import measure
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.series import falling, jumping


def test_p_is_that_of_stouffers_sum() -> None:
    z = np.array([-1.2, 0.4, -2.1, -0.3])
    many = np.full(4, 1e9)  # so many placebos that t is normal
    expected = stats.combine_pvalues(stats.norm.sf(-z), method="stouffer").pvalue
    assert p_by_size(z, 0.0, many) == pytest.approx(2 * min(expected, 1 - expected))


def test_few_placebos_and_heavy_tails_make_it_less_sure() -> None:
    z = np.array([-2.0, -2.5, -1.8, -2.2])
    sure = p_by_size(z, 0.0, np.full(4, 1e9))
    assert p_by_size(z, 0.0, np.full(4, 12.0)) > 3 * sure
    assert p_by_size(z, 8.0, np.full(4, 1e9)) > 10 * sure


def test_no_boundary_decides_alone() -> None:
    assert p_by_size(np.array([-1e6, 0.1, 0.2, -0.1]), 0.0, np.full(4, 100.0)) > 0.05
    assert p_by_size(np.array([-50.0, -50.0]), 0.0, np.full(2, 100.0)) == 1.0


def test_sizes_that_disagree_have_no_direction() -> None:
    down, up = np.full(5, -3.0), np.full(5, 3.0)
    assert together([1e-6, 1e-6, 1.0], [down, down, up])[0] == -1
    assert together([1e-6, 1e-6, 1.0], [down, up, up])[0] == 0
    assert together([1e-6, 0.2, 0.3], [down, down, down])[0] == 0  # one size alone


def test_noise_has_no_direction() -> None:
    rng = np.random.default_rng(21)
    found = 0
    for k in range(400):
        epochs, length = int(rng.integers(3, 9)), int(rng.integers(12, 81))
        loss = falling(rng, epochs, length, tails=k % 3 == 0)
        found += measure(Run.from_arrays(loss=loss, epoch_length=length))[1].by_size
    assert found <= 2  # at a level of 1 in 1,000, more than two of 400 come once in 120 times


@pytest.mark.parametrize("epochs", [5, 6, 7])
def test_jumps_of_three_sigma_at_few_boundaries_are_found(epochs: int) -> None:
    rng = np.random.default_rng(22)
    pooled = [measure(jumping(rng, 3.0, epochs=epochs))[1] for _ in range(20)]
    assert sum(p.direction == 1 for p in pooled) >= 17
    assert all(p.p < 1e-3 for p in pooled if p.by_size)


def test_boundaries_of_one_repeated_order_are_one_observation() -> None:
    """The same batches meet at each boundary: five of them prove no more than one."""
    rng = np.random.default_rng(23)
    once = 1 + 0.1 * rng.normal(size=40)
    once[:5] += 0.25
    loss = np.tile(once, 6) * (1 + 1e-3 * rng.normal(size=240))
    run = Run.from_arrays(loss=loss, epoch_length=40)
    assert measure(run)[1].by_size
    events = tuple(RunEvent("epoch_end", e.last, fields={"order_hash": "5a"}) for e in run.epochs)
    assert not measure(replace(run, events=events))[1].by_size
