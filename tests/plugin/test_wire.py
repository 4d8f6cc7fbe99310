import json
import struct

import numpy as np
import pytest

from tb_losslens.plugin.wire import numbers, shortened
from tb_losslens.strict_json import dumps


def test_a_float32_comes_back_bit_for_bit():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values[np.isnan(values)] = np.nan  # signalling ones warn on every cast
    back = json.loads(dumps(numbers(values)))
    for value, got in zip(values.tolist(), back, strict=True):
        if value != value or value in (float("inf"), -float("inf")):
            assert got is None
        else:
            assert struct.pack("<f", got) == struct.pack("<f", value) or got == value == 0


def test_numbers_are_short():
    values = np.random.default_rng(1).normal(size=1000)
    assert max(len(repr(v)) for v in numbers(values)) <= 16
    np.testing.assert_allclose(numbers(values), values, rtol=1e-8)


@pytest.mark.parametrize("extreme", [5e-324, 1e-300, -1e-30, 0.0, 1e30, 1.7976931348623157e308, -1e308])
def test_extreme_doubles_survive(extreme):
    (got,) = numbers(np.array([extreme]))
    assert got == pytest.approx(extreme, rel=1e-8)


def test_integers_and_booleans_stay_themselves():
    assert numbers(np.array([2**53, -1])) == [2**53, -1]
    assert numbers(np.array([True, False])) == [True, False]
    assert numbers(np.array([], dtype=np.float32)) == []


def test_a_list_is_shortened_as_a_column_is():
    assert shortened([1 / 3, None, 2.0]) == [0.333333333, None, 2.0]
    assert shortened([]) == []
