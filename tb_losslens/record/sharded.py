"""Tells what belongs to a model whose parameters are spread over processes (`fully_shard`)."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


def is_sharded(module: nn.Module) -> bool:
    """True for a module that `fully_shard` was called on."""
    # by name: the class is in a package that a training on one process has no need to import
    return any(base.__name__ == "FSDPModule" for base in type(module).__mro__)


def named_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Names and parameters as the optimiser has them, without those that are gathered for the length of a forward.

    While a sharded module runs, its own parameters are replaced with whole ones, whose memory is freed afterwards: whoever
    kept one would read nothing.
    """
    gathered = {
        id(parameter)
        for module in model.modules()
        if is_sharded(module)
        for parameter in module.parameters()
        if not hasattr(parameter, "to_local")
    }
    return ((name, parameter) for name, parameter in model.named_parameters() if id(parameter) not in gathered)
