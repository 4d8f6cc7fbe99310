"""A signal on both sides of a batch."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.change_at import change_at
from tb_losslens.store.run import Run

ROW, M = 100, 10
K = np.arange(200)


def said(values: object, name: str = "lr") -> str:
    return change_at(Run.from_arrays(loss=np.ones(200), **{name: np.asarray(values, dtype=float)}), name, ROW, M)


def test_a_new_level_is_a_change() -> None:
    assert said(np.where(K < ROW, 0.1, 0.01)).startswith("the LR changes here, from 0.1 to 0.01")
    noise = np.random.default_rng(0).normal(size=200)
    assert said(np.where(K < ROW, 0.0, 20.0) + noise, "input_mean")


@pytest.mark.parametrize(
    "values",
    [
        np.full(200, 0.1),
        0.1 - 0.0004 * K,  # a schedule that goes on
        0.05 * (1 + np.cos(np.pi * K / 200)),
        np.where(K == ROW - 1, 5, 32),  # the last batch of an epoch is small
        np.random.default_rng(0).normal(size=200),
        np.where(K < ROW, np.nan, 0.1),
    ],
)
def test_what_goes_on_as_it_was_is_none(values: object) -> None:
    assert said(values) == ""


def test_nothing_is_said_of_what_was_not_recorded() -> None:
    assert change_at(Run.from_arrays(loss=np.ones(200)), "lr", ROW, M) == ""
