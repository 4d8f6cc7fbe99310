"""Tells what belongs to a model, also while other tensors stand in for its parameters."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

_own: weakref.WeakKeyDictionary[nn.Module, dict[str, weakref.ref[Tensor]]] = weakref.WeakKeyDictionary()
"""Names and parameters of models as they were last seen in full."""


def is_sharded(module: nn.Module) -> bool:
    """True for a module that `fully_shard` was called on."""
    kind: Any = type(module)
    return _is_sharded_class(kind)


@lru_cache(maxsize=1024)
def _is_sharded_class(kind: type[nn.Module]) -> bool:
    # by name: the class is in a package that a training on one process has no need to import
    return any(base.__name__ == "FSDPModule" for base in kind.__mro__)


def named_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and parameters as the optimiser has them, without those that stand in for them for the length of a forward.

    While a sharded module runs, its own parameters are replaced with whole ones, whose memory is freed afterwards: whoever
    kept one would read nothing. `torch.func.functional_call` puts other tensors in their place. Then they are those
    that were there when this was last called without such a replacement; none, where it never was.
    """
    gathered = {
        id(parameter)
        for module in model.modules()
        if is_sharded(module)
        for parameter in module.parameters()
        if not hasattr(parameter, "to_local")
    }
    found = dict(model.named_parameters())
    if not any(id(parameter) in gathered or not isinstance(parameter, nn.Parameter) for parameter in found.values()):
        _own[model] = {name: weakref.ref(parameter) for name, parameter in found.items()}
        return iter(found.items())
    known = _own.get(model, {})
    own = ((name, reference()) for name, reference in known.items())
    return iter([(name, parameter) for name, parameter in own if parameter is not None])
