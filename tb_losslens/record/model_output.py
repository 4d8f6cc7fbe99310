"""Answers which tensor of what a model returned is its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tb_losslens.record.measures import first_floating


def output_of(value: Any) -> Tensor | None:
    """The tensor itself, what is called `logits`, else the first floating tensor that has samples; None without one.

    Args:
        value: a tensor; or a mapping, tuple, list or object with one.
    """
    if isinstance(value, Tensor):
        return _with_samples(value)
    named = value.get("logits") if isinstance(value, Mapping) else getattr(value, "logits", None)
    if named is not None:
        return _with_samples(named)
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((found for found in map(output_of, parts) if found is not None), None)


def _with_samples(value: Any) -> Tensor | None:
    found = first_floating(value) if isinstance(value, Tensor) else None
    return found if found is not None and found.dim() else None
