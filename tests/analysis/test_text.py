"""Numbers as they are printed."""

from __future__ import annotations

import math

import pytest

from tb_losslens.analysis import text


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0, "0"), (0.31, "0.31"), (0.1, "0.1"), (0.00123456, "0.00123"), (12.44, "12.4"), (1234.5, "1,230"), (99.96, "100"),
        (0.99961, "1"), (7, "7"), (1.2e7, "1.2e7"), (3.14159e-5, "3.14e-5"), (-0.5, "-0.5"), (math.nan, "unknown"),
        (math.inf, "infinite"), (120.0, "120"), (1e6, "1e6"),
    ],
)  # fmt: skip
def test_number_has_at_most_three_digits(value: float, printed: str) -> None:
    assert text.number(value) == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.3, "+0.30"),
        (0.314, "+0.31"),
        (-1.25, "−1.2"),
        (0.0, "0"),
        (-0.004, "−0.0040"),
        (51, "+51"),
        (-0.0, "0"),
        (2, "+2.0"),
        (1.02, "+1.0"),
        (310, "+310"),
        (9.96, "+10"),
    ],
)
def test_signed_lines_up(value: float, printed: str) -> None:
    assert text.signed(value) == printed


def test_units_follow_a_thin_space() -> None:
    assert text.percent(0.84) == "84\u202f%"
    assert text.percent(0.004) == "0.4\u202f%"
    assert text.percent(0) == "0\u202f%"


def test_counts_take_their_plural() -> None:
    assert text.plural(1, "boundary") == "1 boundary"
    assert text.plural(11, "boundary") == "11 boundaries"
    assert text.plural(1200, "batch") == "1,200 batches"
    assert text.plural(2, "epoch") == "2 epochs"


def test_lists_are_cut_and_counted() -> None:
    assert text.some([1200, 2]) == "1,200 and 2"
    assert text.some(range(8), 3) == "0, 1, 2 and 5 more"
    assert text.some([]) == "none"


def test_sentences_are_closed_and_begin_small_after_a_colon() -> None:
    assert text.sentences(["One", "Two.", "", "(three)"]) == "One. Two. (three)."
    assert text.lower_first("The order") == "the order"
    assert text.lower_first("LR rises") == "LR rises"
    assert text.p_value(1e-9) == "p < 0.001"
    assert text.p_value(0.0042) == "p = 0.004"
    assert text.p_value(0.5) == "p = 0.50"
