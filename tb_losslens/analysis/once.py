"""Keeps what was computed of a run, for the causes that ask for the same thing one after the other."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from tb_losslens.store.run import Run

T = TypeVar("T")


def once_a_run(function: Callable[[Run], T]) -> Callable[[Run], T]:
    """`function` of a run, computed once for the newest run that it is asked for; nobody may write to the result."""
    newest: tuple[weakref.ref[Run] | None, Any] = (None, None)

    @wraps(function)
    def kept(run: Run) -> T:
        nonlocal newest
        reference, value = newest  # one tuple: another thread may ask for another run
        if reference is None or reference() is not run:
            value = function(run)
            newest = (weakref.ref(run), value)
        result: T = value
        return result

    return kept
