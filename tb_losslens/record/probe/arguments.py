"""Checks the arguments of `set_probe`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tb_losslens.record.batch import tensors_of
from tb_losslens.record.probe.batch import ProbeBatch, Unfit, batch_of


def probe_batch(name: str, value: Any) -> ProbeBatch | None:
    """A copy of (inputs, target); None of None.

    Raises:
        TypeError: it is something else, or holds what cannot be copied.
        ValueError: it has no samples, or is too large to be kept.
    """
    if value is None:
        return None
    expected = f"set_probe({name}=...) expects a pair (inputs, target), as in next(iter(loader))"
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{expected}, got {type(value).__name__}")
    if len(value) != 2:
        raise TypeError(f"{expected}, got {len(value)} items: put several inputs into a tuple, ((first, second), target)")
    inputs, target = value
    if isinstance(inputs, list):
        inputs = tuple(inputs)
    if not any(True for _ in tensors_of(inputs)):
        raise TypeError(f"{expected}, got inputs of {type(inputs).__name__} without a tensor")
    if any(not tensor.numel() for tensor in tensors_of((inputs, target))):
        raise ValueError(f"{expected} with samples, got a tensor without elements")
    try:
        return batch_of(inputs, target)
    except Unfit as reason:
        raise (ValueError if "large" in str(reason) else TypeError)(f"{expected}: {reason}") from None


def probe_loss(value: Any) -> Callable[..., Any] | None:
    """What is called with output and target; None of None.

    Raises:
        TypeError: it cannot be called, or is a class.
    """
    if value is None:
        return None
    if isinstance(value, type):
        raise TypeError(f"set_probe(loss_fn=...) expects the loss itself, got its class: pass {value.__name__}()")
    if not callable(value):
        raise TypeError(f"set_probe(loss_fn=...) expects a function of output and target, got {type(value).__name__}")
    function: Callable[..., Any] = value
    return function
