"""The settings of a run, flat: what its facts hold, bounded in depth, in number and in length, so that runs can be compared."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

Value = str | int | float | bool | None

TAKEN = ("config", "loader", "optimizer", "scheduler", "criterion", "model")
"""Facts that are settings, in the order in which their differences are told."""

_LEFT_OUT = frozenset({"loader.data", "loader.batches", "optimizer.with_state", "optimizer.groups", "scheduler.base_lrs"})
MOST_TEXT = 60
_MOST_KEPT = 2000
_MOST_SETTINGS = 2000
_MOST_INSIDE = 100
"""A mapping of more entries inside another is one setting: the names of a thousand classes would hide all others."""
_DEEPEST = 8
_EXACT = 53
"""Bits of the largest whole number that a reader of JSON keeps exactly; above it is text."""


def settings(facts: Mapping[str, Any]) -> dict[str, Value]:
    """The settings among the facts of a run, flat, in order; at most 2,000. Texts are long, see `shown`."""
    out: dict[str, Value] = {}
    for name in TAKEN:
        fact = facts.get(name)
        if isinstance(fact, Mapping):
            _flatten(name, fact, out, 1)
    return out


def same(value: Value) -> tuple[str, object]:
    """What two values have in common that are the same setting: 1 and 1.0 are, 1 and True are not."""
    if isinstance(value, float) and math.isnan(value):
        return "number", "nan"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number", value
    return type(value).__name__, value


def shown(values: Sequence[Value]) -> list[Value]:
    """The values of one setting in several runs, texts cut to 60 characters.

    Texts that would then look alike are cut shortly before the place where they part instead.
    """
    texts = {value for value in values if isinstance(value, str)}
    alike = len({_cut(text) for text in texts}) < len(texts)
    skip = max(0, _parts_at(min(texts), max(texts)) - MOST_TEXT // 3) if alike else 0  # all texts part where these two do
    return [_cut("…" + value[skip:] if skip else value) if isinstance(value, str) else value for value in values]


def _flatten(name: str, mapping: Mapping[Any, Any], out: dict[str, Value], depth: int) -> None:
    for key, value in mapping.items():
        inner = f"{name}.{_short(str(key), MOST_TEXT)}"
        if len(out) >= _MOST_SETTINGS or inner in _LEFT_OUT:
            continue
        if isinstance(value, Mapping) and len(value) <= _MOST_INSIDE and depth < _DEEPEST:
            _flatten(inner, value, out, depth + 1)
        else:
            out[inner] = _value(value)


def _value(value: Any) -> Value:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > _EXACT:
        return _short(str(value) if value.bit_length() <= 1024 else hex(value), _MOST_KEPT)  # str() refuses very long ones
    if value is None or isinstance(value, (bool, int, float)):
        return value
    try:
        return _short(str(value), _MOST_KEPT)
    except (RecursionError, ValueError):  # lists in lists without end, or a number of thousands of digits in one
        return "too deep to be written out"


def _short(text: str, most: int) -> str:
    """The text, or its begin and a mark of the whole, so that two that part later stay two."""
    if len(text) <= most:
        return text
    mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[: most - 9]}…{mark}"


def _parts_at(a: str, b: str) -> int:
    return next((at for at, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
