"""Hooks that may be compiled, copied and pickled with the module that they hang on: only the original sees anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch as functorch
from torch._C import _get_tracing_state as tracing_state
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.compiler import is_compiling
from torch.utils._pytree import tree_map

from tb_losslens.record.lane_state import LaneState

transform_level = functorch.maybe_current_level
_CAN_CAPTURE = torch.version.cuda is not None or torch.version.hip is not None


class Hook:
    """Calls `method`. Where a graph is being made it is nothing, so that the graph stays as it is.

    Inside `torch.func.grad` it sees the numbers themselves. Inside `vmap` one call stands for many, and it sees none of them.
    A deep copy of a module shares the hook, a pickled one gets a hook that does nothing.
    """

    def __init__(self, method: Callable[..., None]) -> None:
        self._method = method

    def __call__(self, *args: Any) -> None:
        """What torch calls."""
        if is_compiling() or tracing_state() is not None or (_CAN_CAPTURE and _is_capturing()):
            return
        if transform_level() is None:
            self._method(*args)
        else:
            _call_outside(self._method, args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Hook, (ignore,)


class ShortHook(Hook):
    """A hook whose calls go the short way (lane.py) first: `short` says whether it took one.

    It comes before everything else that `method` would look at, and has to be one call with as little around it as can be.
    """

    def __init__(self, method: Callable[..., None], lane: LaneState, short: Callable[..., bool]) -> None:
        super().__init__(method)
        self._lane = lane
        self._short = short

    def __call__(self, *args: Any) -> None:
        """What torch calls."""
        if is_compiling() or tracing_state() is not None or (_CAN_CAPTURE and _is_capturing()):
            return
        if transform_level() is not None:
            _call_outside(self._method, args)
        elif not (self._lane.on and self._short(*args)):
            self._method(*args)


def ignore(*_: Any) -> None:
    """Does nothing."""


def _call_outside(method: Callable[..., None], args: tuple[Any, ...]) -> None:
    """Calls `method` as if no transform of `torch.func` were on; in one of them every result is wrapped, and has no memory."""
    stack = functorch.get_interpreter_stack() or ()
    if all(level.key() == functorch.TransformType.Grad for level in stack):
        with temporarily_clear_interpreter_stack():
            method(*tree_map(_without_wrappers, args))


def _without_wrappers(value: Any) -> Any:
    while isinstance(value, Tensor) and functorch.is_gradtrackingtensor(value):
        value = functorch.get_unwrapped(value)
    return value


def _is_capturing() -> bool:
    """True while a CUDA graph is captured."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()  # type: ignore[no-untyped-call]
