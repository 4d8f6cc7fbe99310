import math

import numpy as np
import pytest

from tb_losslens.record.disk.layout import MAX_BYTES, MAX_ROWS, Layout


def test_types_follow_the_signal_then_the_first_value():
    layout, row = Layout().converted({"loss": 1, "step": 3.0, "lr.1": 1, "mine": 7, "other": 0.5, "flag": True})
    assert layout.columns == (("loss", "d"), ("step", "q"), ("lr.1", "d"), ("mine", "q"), ("other", "d"), ("flag", "q"))
    assert row == {"loss": 1.0, "step": 3, "lr.1": 1.0, "mine": 7, "other": 0.5, "flag": 1}
    assert isinstance(row["step"], int)


def test_a_row_that_fits_changes_nothing():
    layout, _ = Layout().converted({"loss": 1.0, "step": 3})
    again, row = layout.converted({"step": np.int32(4), "loss": np.float32(0.5)})
    assert again is layout
    assert row == {"loss": 0.5, "step": 4}
    assert layout.fits({"step": 1})
    assert not layout.fits({"step": 1, "new": 2})


def test_a_fraction_turns_integers_into_floats():
    layout, _ = Layout().converted({"mine": 7})
    wider, row = layout.converted({"mine": 7.5})
    assert wider.columns == (("mine", "d"),)
    assert row == {"mine": 7.5}
    assert Layout().converted({"mine": 2**63})[0].columns == (("mine", "d"),)
    assert Layout().converted({"step": math.inf})[0].columns == (("step", "d"),)


def test_missing_values():
    layout, row = Layout().converted({"loss": None, "step": float("nan"), "epoch": None})
    assert row == {"step": -1}
    values = list(layout.values(row))
    assert math.isnan(values[0])
    assert values[1:] == [-1, -1]


@pytest.mark.parametrize("value", ["x", [1, 2], object(), 10**400])
def test_what_is_no_number_is_named(value):
    with pytest.raises(ValueError, match="column 'a' must be a number"):
        Layout().converted({"a": value})


def test_a_row_becomes_bytes_and_back():
    layout, row = Layout().converted({"loss": 0.1, "step": 2**62, "mine": -5})
    memory = bytearray(100)
    layout.pack(memory, 8, *layout.values(row))
    assert layout.unpack(memory, 8) == (0.1, 2**62, -5)
    offset, pack = layout.places["mine"]
    pack(memory, 8 + offset, 6)
    assert layout.unpack(memory, 8) == (0.1, 2**62, 6)


def test_capacity_is_bounded_by_rows_and_bytes():
    def capacity(columns):
        return Layout(tuple((str(i), "d") for i in range(columns))).capacity

    assert capacity(1) == MAX_ROWS
    assert capacity(64) == MAX_BYTES // (64 * 8)
    assert capacity(10_000) == 1
    assert capacity(0) == 0
