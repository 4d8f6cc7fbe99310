"""Writes JSON that every parser takes: null for NaN and infinity, and numpy's numbers as numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np


def dumps(body: Any, *, indent: int | None = None) -> str:
    """JSON text of `body`, without spaces unless `indent` is given; a float anywhere that is not finite becomes null.

    Raises:
        TypeError: if something in it is neither plain data nor a numpy scalar.
    """
    separators = (",", ":") if indent is None else None
    try:
        return json.dumps(body, allow_nan=False, separators=separators, indent=indent, default=_plain)
    except ValueError:  # the careful walk costs more than writing, so only where it is needed
        clean = _without_nonfinite(body)
        return json.dumps(clean, allow_nan=False, separators=separators, indent=indent, default=_plain)


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nonfinite(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """What `json` asks about a type that it does not know: a numpy scalar is the Python number that it holds."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")
