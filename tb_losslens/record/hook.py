"""A hook that may be compiled, copied and pickled with the module that it hangs on: only the original sees anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._C import _get_tracing_state as tracing_state
from torch.compiler import is_compiling

_CAN_CAPTURE = torch.version.cuda is not None or torch.version.hip is not None


class Hook:
    """Calls `method`. Where a graph is being made it is nothing, so that the graph stays as it is.

    A deep copy of a module shares the hook, a pickled one gets a hook that does nothing.
    """

    def __init__(self, method: Callable[..., None]) -> None:
        self._method = method

    def __call__(self, *args: Any) -> None:
        """What torch calls."""
        if is_compiling() or tracing_state() is not None or (_CAN_CAPTURE and _is_capturing()):
            return
        self._method(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, (ignore,)


def ignore(*_: Any) -> None:
    """Does nothing."""


def _is_capturing() -> bool:
    """True while a CUDA graph is captured."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]
