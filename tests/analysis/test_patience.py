"""A patience against a plain loop, and the trend on series that are known."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.patience import keeps_best, patience_for, stop_of, trend


def _plain(values: list[float], patience: int) -> tuple[int | None, int]:
    """As a training script does it: the validation at which it stops, and the best one."""
    best, chosen, waited = float("inf"), 0, 0
    for k, value in enumerate(values):
        if value < best:
            best, chosen, waited = value, k, 0
        else:
            waited += 1
            if waited >= patience:
                return k, chosen
    return None, chosen


@pytest.mark.parametrize("seed", range(30))
def test_a_patience_stops_where_a_plain_loop_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.linspace(2, 1, 15) + 0.2 * rng.standard_normal(15)
    for patience in range(1, 16):
        found = stop_of(values, patience)
        assert (found.at, found.best) == _plain(values.tolist(), patience)
    enough = keeps_best(values)
    assert stop_of(values, enough).best == int(values.argmin())
    assert enough == 1 or stop_of(values, enough - 1).best != int(values.argmin())


def test_a_trend_is_measured_in_standard_errors() -> None:
    found = trend(np.array([9.0, 9.0, 9.0, 4.0, 4.0, 4.0, 2.0, 2.0, 2.0]), noise=0.5, most=3)
    assert found is not None
    assert (found.count, found.fall) == (3, 2.0)
    assert found.each == pytest.approx(2 / 3)
    assert found.errors == pytest.approx(2 / (0.5 * np.sqrt(2 / 3)))
    assert trend(np.ones(3), noise=0.5, most=3) is None
    assert trend(np.ones(9), noise=float("nan"), most=3) is None
    assert trend(np.ones(9), noise=0.0, most=3) is None


def test_the_patience_in_which_a_fall_outgrows_the_noise() -> None:
    assert patience_for(0.1, 0.07) == 5
    assert patience_for(0.1, 0.0) == patience_for(0.1, 1e-9) == 100
    assert patience_for(1e-9, 1.0) == 1
