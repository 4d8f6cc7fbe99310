"""Reads query parameters: a value that makes sense, or a 400 with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tensorboard import errors

_WHOLE = re.compile(r"[0-9]{1,15}", re.ASCII)
_SHOWN = 80


def text(args: Mapping[str, str], name: str) -> str:
    """The parameter `name`, which must be there and not be empty.

    Raises:
        InvalidArgumentError: if it is missing or empty.
    """
    value = args.get(name, "")
    if not value:
        raise errors.InvalidArgumentError(f"the parameter {name!r} is required")
    return value


def whole(args: Mapping[str, str], name: str, *, default: int | None = None, low: int = 0, high: int = 10**15) -> int:
    """The parameter `name` as a whole number between `low` and `high`; `default` if it is missing.

    Raises:
        InvalidArgumentError: if it is anything else, or missing and without a default.
    """
    value = args.get(name)
    if value is None and default is not None:
        return default
    raw = text(args, name) if default is None else value or ""
    if _WHOLE.fullmatch(raw) and low <= int(raw) <= high:
        return int(raw)
    raise errors.InvalidArgumentError(f"{name!r} must be a whole number from {low} to {high}, got {shown(raw)}")


def shown(value: str) -> str:
    """A value as an error message may repeat it: quoted, one line, cut after 80 characters."""
    return repr(value if len(value) <= _SHOWN else value[:_SHOWN] + "...")
