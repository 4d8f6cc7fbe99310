"""The tails of the laws against scipy.stats, also far out and at their ends."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from tb_losslens.analysis import tails

X = np.array([0.0, 1e-9, 0.3, 1.0, 4.0, 17.0, 60.0, 300.0])
P = np.array([1e-300, 1e-30, 1e-6, 0.01, 0.3, 0.5, 0.9, 0.999999])


@pytest.mark.parametrize("freedom", [0.5, 1, 2, 7.3, 40, 1e4])
def test_continuous_laws(freedom):
    np.testing.assert_allclose(tails.chi2_sf(X, freedom), stats.chi2.sf(X, freedom), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(tails.chi2_ppf(P[2:], freedom), stats.chi2.ppf(P[2:], freedom), rtol=1e-7)
    both = np.concatenate([-X, X])
    np.testing.assert_allclose(tails.t_sf(both, freedom), stats.t.sf(both, freedom), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(tails.t_isf(P[2:], freedom), stats.t.isf(P[2:], freedom), rtol=1e-7)
    for below in (1, 3, 50, 1e5):
        np.testing.assert_allclose(tails.f_sf(X, freedom, below), stats.f.sf(X, freedom, below), rtol=1e-9, atol=1e-300)


def test_normal():
    both = np.concatenate([-X[:7], X[:5]])
    np.testing.assert_allclose(tails.normal_sf(both), stats.norm.sf(both), rtol=1e-12)
    np.testing.assert_allclose(tails.normal_isf(P), stats.norm.isf(P), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 30, 999])
@pytest.mark.parametrize("p", [0.0, 1e-5, 0.02, 0.5, 1.0])
def test_binomial(n, p):
    k = np.arange(-1, n + 3)
    np.testing.assert_allclose(tails.binomial_sf(k, n, p), stats.binom.sf(k, n, p), rtol=1e-8, atol=1e-300)
    np.testing.assert_allclose(tails.binomial_cdf(k, n, p), stats.binom.cdf(k, n, p), rtol=1e-8, atol=1e-300)
    np.testing.assert_allclose(tails.binomial_sf(k.astype(float), float(n), p), stats.binom.sf(k, n, p), rtol=1e-8, atol=1e-300)


def test_a_diagnosis_can_be_imported_without_scipy_stats():
    code = "import sys; import tb_losslens.analysis.engine, tb_losslens; print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
