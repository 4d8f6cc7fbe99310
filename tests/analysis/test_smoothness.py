"""A moving average is told from losses of single batches, and no comfort is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.smoothness import may_be_smoothed, shared_with_before
from tb_losslens.store.run import Run
from tests.trainings import train


def _exponential(raw, a):
    """`x_i = a x_(i-1) + (1 - a) u_i` from the first value on."""
    return lfilter([1 - a], [1, -a], raw, zi=[a * raw[0]])[0]


def test_the_share_is_that_of_the_average() -> None:
    raw = 1 + np.random.default_rng(0).gamma(2.0, 0.2, 5000)
    assert shared_with_before(Run.from_arrays(loss=raw)) < 0.1
    for a in (0.5, 0.9, 0.98):
        assert shared_with_before(Run.from_arrays(loss=_exponential(raw, a))) == pytest.approx(
            a, abs=0.12
        )  # clipping and the medians of the blocks cost a little
    for window in (5, 20):
        curve = np.convolve(raw, np.ones(window) / window, mode="valid")
        assert shared_with_before(Run.from_arrays(loss=curve)) > 0.9


@pytest.mark.parametrize("loss", [np.ones(400), np.full(400, np.nan), np.arange(400.0), np.r_[np.ones(10), np.inf], []])
def test_no_noise_shares_nothing(loss) -> None:
    assert shared_with_before(Run.from_arrays(loss=loss)) == 0


def test_a_moving_average_is_no_proof_of_calm() -> None:
    run = train(data="gaussian", lr=0.05)
    raw = diagnose(run).findings[0]
    smooth = _exponential(run.loss, 0.95)
    (found, *_) = diagnose(Run.from_arrays(loss=smooth, epoch_length=len(run.epochs[0]))).findings
    assert (raw.cause, found.cause) == ("batch_noise", "batch_noise")
    assert "would have been seen" not in found.advice
    assert any("moving average" in line for line in found.against)
    assert found.strength == "possible"
    assert not any("moving average" in line for line in raw.against)


def test_a_loss_from_the_criterion_is_that_of_the_batch_however_smooth() -> None:
    loss = np.cumsum(np.random.default_rng(0).normal(size=500))
    assert may_be_smoothed(Run.from_arrays(loss=loss)) > 0.5
    run = Run("r", Run.from_arrays(loss=loss).columns, facts={"loss_source": "criterion"})
    assert may_be_smoothed(run) == 0
