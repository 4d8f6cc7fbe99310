"""A hook that may be compiled, copied and pickled with the module that it hangs on: only the original sees anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Hook:
    """Calls `method`. Where a graph is being made, by `torch.compile` or by tracing, it is nothing: the graph stays as it is.

    A deep copy of a module shares the hook, a pickled one gets a hook that does nothing.
    """

    def __init__(self, method: Callable[..., None]) -> None:
        self._method = method

    def __call__(self, *args: Any) -> None:
        """What torch calls."""
        if not torch.compiler.is_compiling() and torch._C._get_tracing_state() is None:
            self._method(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, (ignore,)


def ignore(*_: Any) -> None:
    """Does nothing."""
