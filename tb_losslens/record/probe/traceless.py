"""Calls a model and leaves it as it was: what its modules keep, its buffers, and every random number."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from tb_losslens.record.probe.fixed_randomness import fixed_randomness, surely

_CONTAINERS = (dict, OrderedDict, list, set, deque)


class ChangedWeights(Exception):  # noqa: N818 - it says what happened
    """The model wrote to its own parameters while it was only evaluated: that cannot be taken back without a copy of them."""


@contextmanager
def traceless(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, `modules` may be called without gradients and their modes be set; afterwards they are as they were.

    Put back are the attributes of each module (its mode, its hooks and any counter among them), what lists, sets and
    dicts among them held, and the random numbers. Buffers are never written to, since the modules have copies of them
    inside: a graph that saved one can still go backward. Nothing is compiled inside.

    Not put back is what lies deeper: an attribute of an attribute, a file, a global. That would take a deep copy of the
    model, and with it twice its memory.

    Args:
        modules: the model and everything in it.

    Raises:
        ChangedWeights: after everything else was put back.
    """
    written = [*_parameters(modules), *_buffers(modules)]
    versions = [_version(tensor) for tensor in written]
    devices = {tensor.device for tensor in written}
    attributes = [_attributes(module) for module in modules]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(fixed_randomness(devices, _generators(modules)))
        stack.enter_context(_nothing_compiled())
        for restore in attributes:
            stack.callback(surely, restore)
        _stand_in(modules)
        yield
    if any(_version(tensor) != version for tensor, version in zip(written, versions, strict=True)):
        raise ChangedWeights("the model writes to its own parameters when it is called")


def _parameters(modules: Sequence[nn.Module]) -> Iterator[Tensor]:
    return (p for module in modules for p in module._parameters.values() if p is not None)


def _buffers(modules: Sequence[nn.Module]) -> Iterator[Tensor]:
    return (b for module in modules for b in module._buffers.values() if b is not None)


def _stand_in(modules: Sequence[nn.Module]) -> None:
    """Gives the modules copies of their buffers to write to; the same buffer in two places stays the same one."""
    copies: dict[int, Tensor] = {}

    def copy(tensor: Tensor) -> Tensor:
        return copies.setdefault(id(tensor), tensor.detach().clone())

    for module in modules:
        for holder in (module._buffers, vars(module)):
            for name, value in list(holder.items()):
                if isinstance(value, Tensor):
                    holder[name] = copy(value)
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None:
            # it writes to its weight when it is called
            module._parameters["weight"] = nn.Parameter(copy(module.weight), requires_grad=False)
        if module._compiled_call_impl is not None:
            module._compiled_call_impl = None


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _attributes(module: nn.Module) -> Callable[[], None]:
    """Puts back what the module keeps, as it is now."""
    own = vars(module)
    before = dict(own)
    contents = [(value, value.copy()) for value in before.values() if type(value) in _CONTAINERS]

    def restore() -> None:
        if not _same(own, before):
            own.clear()
            own.update(before)
        for container, content in contents:
            _refill(container, content)

    return restore


def _refill(container: Any, content: Any) -> None:
    if _same(container, content):
        return
    container.clear()
    if isinstance(container, (dict, set)):
        container.update(content)
    else:
        container.extend(content)


def _same(left: Any, right: Any) -> bool:
    """True if both hold the same objects in the same order."""
    if len(left) != len(right):
        return False
    if isinstance(left, dict):
        return all(a is b for a, b in zip(left, right, strict=True)) and _same(list(left.values()), list(right.values()))
    if isinstance(left, set):
        return bool(left == right)
    return all(a is b for a, b in zip(left, right, strict=True))


def _generators(modules: Sequence[nn.Module]) -> list[Generator]:
    return [value for module in modules for value in vars(module).values() if isinstance(value, Generator)]


@contextmanager
def _nothing_compiled() -> Iterator[None]:
    """Compiled parts run as they were written: another mode would otherwise be another graph."""
    # without dynamo nothing is compiled, and to import it takes a second
    stance = getattr(torch.compiler, "set_stance", None) if "torch._dynamo" in sys.modules else None
    if stance is None:
        yield
        return
    with stance("force_eager"):
        yield
