"""Axes that are linear, logarithmic or cut, and their ticks."""

import numpy as np
import pytest

from tb_losslens.html.scale import scale_of, tick_labels


def test_places_run_from_the_bottom_to_the_top() -> None:
    scale = scale_of(np.array([1.0, 2.0, 3.0]), 100.0)
    assert not scale.log
    y = scale.at(np.array([scale.low, 2.0, scale.high, -5.0, 99.0, np.nan]))
    assert y[:5].tolist() == pytest.approx([100, 100 * (scale.high - 2) / (scale.high - scale.low), 0, 100, 0])
    assert np.isnan(y[5])


def test_a_curve_that_falls_over_decades_gets_a_logarithmic_axis() -> None:
    falling = np.geomspace(10, 0.001, 200)
    scale = scale_of(falling, 100.0)
    assert scale.log
    middle = scale.at(np.array([10.0, 0.1, 0.001]))
    assert np.diff(middle).tolist() == pytest.approx([middle[1] - middle[0]] * 2)
    assert not scale_of(falling - 1, 100.0).log  # it is not positive
    assert not scale_of(np.linspace(2, 1, 200), 100.0).log


def test_a_spike_does_not_press_the_curve_flat() -> None:
    curve = np.full(200, 1.0) + 0.1 * np.sin(np.arange(200))
    curve[100] = 1000.0
    assert scale_of(curve, 100.0).log
    below = scale_of(curve - 1.0, 100.0)
    assert below.cut
    assert below.high < 1
    assert below.at(999.0) == 0


@pytest.mark.parametrize(
    "values",
    [[], [np.nan, np.nan], [2.0], [0.0, 0.0], [-3.0, -3.0], [1e300, -1e300], [1e-300, 1e300], [5.0, np.inf, np.nan]],
)
def test_any_curve_has_an_axis_with_a_tick(values: list[float]) -> None:
    scale = scale_of(np.array(values, dtype=np.float64), 100.0)
    ticks = scale.ticks()
    assert scale.low < scale.high
    assert 1 <= len(ticks) <= 12
    assert ticks == sorted(ticks)
    assert len(tick_labels(ticks)) == len(ticks)
    known = scale.at(np.array([v for v in values if np.isfinite(v)]))
    assert ((known >= 0) & (known <= 100)).all()


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0.0, 0.5, 1.0], ["0.0", "0.5", "1.0"]),
        ([-2.0, 0.0, 2.0], ["\u22122", "0", "2"]),
        ([0.0, 2000.0, 4000.0], ["0", "2,000", "4,000"]),
        ([0.01, 0.1, 1.0], ["0.01", "0.1", "1"]),
        ([1.0], ["1"]),
    ],
)
def test_ticks_are_called_alike(ticks: list[float], labels: list[str]) -> None:
    assert tick_labels(ticks) == labels
