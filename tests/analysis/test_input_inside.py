"""Inputs that become others inside an epoch, of which neither a boundary nor the loss tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.causes import input_shift
from tb_losslens.store.run import Run
from tests.analysis.contexts import faults

LENGTH, EPOCHS = 60, 10


def _run(seed: int, factor: np.ndarray, offset: np.ndarray) -> Run:
    """The loss goes on as before, as that of a net which normalises by the batch."""
    rng = np.random.default_rng(seed)
    n = LENGTH * EPOCHS
    return Run.from_arrays(
        loss=0.3 * np.exp(-np.arange(n) / 400) * (1 + 0.1 * rng.normal(size=n)),
        input_mean=offset + factor * 0.03 * rng.normal(size=n),
        input_std=factor * (1 + 0.02 * rng.normal(size=n)),
        epoch_length=LENGTH,
    )


def _from(*rows: int) -> np.ndarray:
    """How many of `rows` lie at or before each batch."""
    return (np.arange(LENGTH * EPOCHS)[:, None] >= np.array(rows)).sum(axis=1).astype(float)


@pytest.mark.parametrize("row", [305, 333, 350])
@pytest.mark.parametrize("seed", range(5))
def test_the_batch_is_named_where_the_loss_does_not_tell(row: int, seed: int) -> None:
    (found,) = faults(input_shift, _run(seed, 1 + 3 * _from(row), -2 * _from(row)))
    assert found.boundaries == ()
    assert abs(found.steps[0] - row) <= 1
    assert not found.explains_jump
    (scaled,) = faults(input_shift, _run(seed, 1 - 0.5 * _from(row), np.zeros(LENGTH * EPOCHS)))
    assert abs(scaled.steps[0] - row) <= 1
    assert f"after step {found.steps[0]}:" in found.fix
    assert f"after step {scaled.steps[0]}:" in scaled.fix


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_back_drifts_or_takes_many_steps_is_none(seed: int) -> None:
    there_and_back = _from(333) - _from(455)
    assert not faults(input_shift, _run(seed, 1 + 3 * there_and_back, 0 * there_and_back))
    drift = np.arange(LENGTH * EPOCHS) / (LENGTH * EPOCHS)
    assert not faults(input_shift, _run(seed, 1 + drift, drift))
    steps = _from(*range(30, LENGTH * EPOCHS, LENGTH))
    assert not faults(input_shift, _run(seed, 1 + 0 * steps, steps))
    two = _from(153, 453)
    assert not faults(input_shift, _run(seed, 1 + two, 0 * two))
    halves = (np.arange(LENGTH * EPOCHS) % LENGTH >= 30).astype(float)
    assert not faults(input_shift, _run(seed, 1 + halves, halves))
    assert not faults(input_shift, _run(seed, 1 + 0 * halves, 0 * halves))


def test_what_another_network_makes_of_the_batch_is_left_alone() -> None:
    run = _run(0, 1 + 3 * _from(333), -2 * _from(333))
    assert not faults(input_shift, replace(run, facts={"inputs_of_loader": False}))
