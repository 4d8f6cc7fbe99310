"""A span of other data against a network that comes back from a disturbance."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.boxes import box_spans
from tb_losslens.store.run import Run

BEGIN, LENGTH, LEVEL = 300, 10, 0.01


def run(seed: int, *, height: np.ndarray) -> Run:
    """A loss of 600 batches whose noise is a quarter of it, with `height` times the level added from batch 300 on."""
    loss = np.full(600, LEVEL)
    loss[BEGIN : BEGIN + len(height)] += LEVEL * height
    return Run.from_arrays(loss=loss * np.random.default_rng(seed).lognormal(0, 0.25, 600))


def test_a_span_with_a_height_of_its_own_is_found() -> None:
    found = [box_spans(run(seed, height=np.full(LENGTH, 12.0))) for seed in range(100)]
    spans = [span for (span,) in filter(None, found)]
    assert len(spans) >= 85
    assert all(abs(first - BEGIN) <= 1 and abs(last - (BEGIN + LENGTH - 1)) <= 1 for first, last in spans)


@pytest.mark.parametrize("time", [5.0, 8.0, 12.0])
def test_what_dies_away_is_none(time: float) -> None:
    """As where a target network is copied every hundred batches: the loss is high at once, and comes back little by little."""
    height = 7.0 * np.exp(-np.arange(80) / time)
    assert [seed for seed in range(60) if box_spans(run(seed, height=height))] == []


def test_what_falls_to_nothing_in_a_line_is_none() -> None:
    """An adaptive optimiser moves at one speed."""
    height = np.linspace(7.0, 0.0, 18)
    assert sum(bool(box_spans(run(seed, height=height))) for seed in range(60)) <= 1  # noise alone may make one
