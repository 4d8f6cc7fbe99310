"""Answers where a model can be hooked so that a compiled graph stays whole."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from torch import nn

from tb_losslens.record.sharded import is_sharded

Call = Callable[..., Any]


def hook_calls(model: nn.Module, begins: Call, ends: Call) -> list[Any]:
    """Hooks the outermost call of `model`; each result has a `remove()`.

    `begins(model, args, kwargs)` and `ends(model, args, output)` are called around it, `ends` also when it fails. Where
    `model.compile()` was called, forward hooks would be inside the compiled region: then the compiled call is wrapped.
    """
    if _compiled_call(model) is not None:
        return [_OuterCall(model, begins, ends)]
    # before a sharded model gathers its parameters: what an epoch begins with is what the last one ended with
    return [
        model.register_forward_pre_hook(begins, with_kwargs=True, prepend=is_sharded(model)),
        model.register_forward_hook(ends, always_call=True),
    ]


def outer_callable(model: nn.Module) -> nn.Module | None:
    """What is called instead of `model` since it was compiled, or None if it was not compiled."""
    if _compiled_call(model) is not None:
        return model
    for thing in gc.get_objects():
        # by the class of the object, since isinstance may run code of the user's objects
        kind = type(thing)
        if kind.__name__ != "OptimizedModule" or not kind.__module__.startswith("torch._dynamo"):
            continue
        if vars(thing).get("_modules", {}).get("_orig_mod") is model:
            found: nn.Module = thing
            return found
    return None


def _compiled_call(model: nn.Module) -> Call | None:
    call: Call | None = vars(model).get("_compiled_call_impl")
    return call


class _OuterCall:
    """Stands in for the compiled call of a module."""

    def __init__(self, model: nn.Module, begins: Call, ends: Call) -> None:
        self._model = model
        self._call = _compiled_call(model)
        self._begins = begins
        self._ends = ends
        model._compiled_call_impl = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = None
        self._begins(self._model, args, kwargs)
        try:
            assert self._call is not None
            output = self._call(*args, **kwargs)
        finally:
            self._ends(self._model, args, output)
        return output

    def remove(self) -> None:
        """Puts the compiled call back."""
        if _compiled_call(self._model) is self:
            self._model._compiled_call_impl = self._call
