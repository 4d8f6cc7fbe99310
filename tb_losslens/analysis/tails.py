"""Tail probabilities of the usual laws, straight from `scipy.special`: `scipy.stats` takes most of a second to be imported.

All take and give scalars or arrays, as numpy broadcasts them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special


def binomial_cdf(k: Any, n: Any, p: Any) -> Any:
    """P(X <= k) of a binomial law; `n` may be the whole number of a float, and `k` below 0 or above `n`."""
    inside = np.clip(k, 0, np.maximum(np.asarray(n) - 1, 0))
    known = special.betainc(np.maximum(n - inside, 1), inside + 1, 1 - np.asarray(p))
    return np.where(np.less(k, 0), 0.0, np.where(np.less(k, n), known, 1.0))


def binomial_sf(k: Any, n: Any, p: Any) -> Any:
    """P(X > k), as above."""
    inside = np.clip(k, 0, np.maximum(np.asarray(n) - 1, 0))
    known = special.betainc(inside + 1, np.maximum(n - inside, 1), p)
    return np.where(np.less(k, 0), 1.0, np.where(np.less(k, n), known, 0.0))


def chi2_sf(x: Any, freedom: Any) -> Any:
    """P(X > x) of a chi-squared law."""
    return special.chdtrc(freedom, x)


def chi2_ppf(p: Any, freedom: Any) -> Any:
    """The value that a chi-squared law stays below with probability p."""
    return special.chdtri(freedom, 1 - p)


def f_sf(x: Any, above: Any, below: Any) -> Any:
    """P(X > x) of an F law with degrees of freedom `above` and `below` the line."""
    return special.fdtrc(above, below, x)


def t_sf(x: Any, freedom: Any) -> Any:
    """P(X > x) of Student's t."""
    return special.stdtr(freedom, -x)


def t_isf(p: Any, freedom: Any) -> Any:
    """The value that Student's t exceeds with probability p."""
    return -special.stdtrit(freedom, p)


def normal_sf(x: Any) -> Any:
    """P(X > x) of a standard normal law."""
    return special.ndtr(-x)


def normal_isf(p: Any) -> Any:
    """The value that a standard normal law exceeds with probability p."""
    return -special.ndtri(p)
