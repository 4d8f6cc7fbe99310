import numpy as np
import pytest
from scipy import stats

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.superposed import superposed
from tb_losslens.store.run import Run


def jumping(epochs=12, length=60, jump=1.0, noise=0.05):
    within = np.tile(np.linspace(jump, 0.0, length), epochs)
    loss = 2.0 + within + np.random.default_rng(7).normal(0, noise, epochs * length)
    return Run.from_arrays("r", epoch_length=length, loss=loss)


def test_mean_and_interval_are_those_of_the_windows_one_by_one():
    run = jumping()
    boundaries = diagnose(run).boundaries
    found = superposed(run, boundaries, 20)
    windows = np.array([run.loss[b.batch - 20 : b.batch + 20] - b.before for b in boundaries])
    assert found.boundaries == len(windows) == 11
    np.testing.assert_allclose(found.mean, windows.mean(axis=0))
    low, high = stats.t.interval(0.95, len(windows) - 1, loc=windows.mean(axis=0), scale=stats.sem(windows, axis=0))
    np.testing.assert_allclose(found.low, low)
    np.testing.assert_allclose(found.high, high)
    assert found.mean[20] == pytest.approx(1.0, abs=0.1)  # the jump
    assert abs(found.mean[19]) < 0.1


def test_what_lies_beyond_the_two_epochs_is_not_in_it():
    run = jumping(length=12)
    found = superposed(run, diagnose(run).boundaries, 20)
    assert np.isnan(found.mean[:8]).all()
    assert np.isfinite(found.mean[8:32]).all()
    assert np.isnan(found.mean[32:]).all()


def test_too_few_boundaries_are_not_superposed():
    run = jumping(epochs=3)
    assert superposed(run, diagnose(run).boundaries, 20) is None
    assert superposed(run, [], 20) is None


def test_losses_that_are_not_finite_are_left_out():
    run = jumping()
    loss = run.loss.copy()
    loss[60 * 3 + 5] = np.nan
    loss[60 * 4 + 5] = np.inf
    broken = Run.from_arrays("r", epoch_length=60, loss=loss)
    found = superposed(broken, diagnose(run).boundaries, 20)
    assert np.isfinite(found.mean).all()
    windows = np.array([loss[b.batch + 5] - b.before for b in diagnose(run).boundaries])
    assert found.mean[25] == pytest.approx(windows[np.isfinite(windows)].mean())


def test_a_loss_that_diverged_stays_a_number():
    loss = jumping().loss * np.logspace(0, 300, 720)
    run = Run.from_arrays("r", epoch_length=60, loss=loss)
    found = superposed(run, diagnose(run).boundaries, 20)
    assert np.isfinite(found.high).all()
