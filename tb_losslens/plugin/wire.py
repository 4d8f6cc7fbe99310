"""Turns columns into lists that JSON can hold, as short as they can be without losing a float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DIGITS = 9
"""Enough to give a float32 back exactly; a double's 17 digits would double the size of a response."""


def numbers(values: NDArray[Any], digits: int = _DIGITS) -> list[Any]:
    """A column as a list that `json` can write: floats rounded to `digits` significant digits, not finite as None.

    Args:
        values: shape (n,), any integer, boolean or floating type.
        digits: 9 gives a float32 back exactly; a picture needs fewer.
    """
    if values.dtype.kind != "f":
        out: list[Any] = values.tolist()
        return out
    column = values.astype(np.float64, copy=False)
    finite = np.isfinite(column)
    out = _rounded(np.where(finite, column, 0.0), digits).tolist()
    for position in np.flatnonzero(~finite).tolist():
        out[position] = None
    return out


def shortened(values: list[float | None]) -> list[Any]:
    """A list as `numbers` would write it."""
    return numbers(np.array([math.nan if value is None else value for value in values], dtype=np.float64))


def _rounded(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    size = np.abs(values)
    plain = (size > 1e-290) & (size < 1e290)  # beyond these the scale itself would overflow
    scaled = np.where(plain, values, 1.0)
    places = digits - 1 - np.floor(np.log10(np.abs(scaled)))
    # powers of ten up to 22 are exact, so multiply for small numbers and divide for large ones
    up, down = 10.0 ** np.maximum(places, 0.0), 10.0 ** np.maximum(-places, 0.0)
    rounded: NDArray[np.float64] = np.where(plain, np.round(scaled * up / down) / up * down, values)
    return rounded
