"""A fixed batch for the probe: copies on the CPU of what a model and its criterion were given, or of what the user gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tb_losslens.record.batch import tensors_of

MOST_SAMPLES = 256
"""Samples of a batch that are kept, its first ones."""

MOST_BYTES = 64 << 20
"""Size up to which a larger batch is kept whole, where its tensors do not tell which of their axes is that of the samples."""


class Unfit(Exception):  # noqa: N818 - it is a result and no failure
    """There is something here that cannot be probed; the sentence says why, and what to do."""


@dataclass(frozen=True)
class Kept:
    """A tensor on the CPU, and the device that it is for; None: that of the model."""

    tensor: Tensor
    device: torch.device | None


@dataclass(frozen=True)
class ProbeBatch:
    """What the model is called with, and what its output is compared with.

    Attributes:
        args: positional arguments of the model, with a `Kept` for each tensor.
        kwargs: its keyword arguments.
        rest: arguments of the loss after the output: one target, as a rule.
        samples: samples in it, -1 where unknown.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    rest: tuple[Any, ...] = ()
    samples: int = -1

    def given(self, device: torch.device) -> tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]:
        """Fresh tensors for one evaluation, as a model may write to what it is given."""
        args, kwargs, rest = mapped((self.args, self.kwargs, self.rest), Kept, lambda kept: _fresh(kept, device))
        return args, kwargs, rest


def batch_of(inputs: Any, target: Any) -> ProbeBatch:
    """The user's own batch: inputs are a tensor, a tuple of positional or a dict of keyword arguments."""
    size = leading((inputs, target))
    first = MOST_SAMPLES if size > MOST_SAMPLES else None
    kept = copied(inputs, first)
    args = kept if type(kept) is tuple else () if isinstance(kept, dict) else (kept,)
    kwargs = kept if isinstance(kept, dict) else {}
    return ProbeBatch(args, kwargs, (copied(target, first),), min(size, MOST_SAMPLES))


def leading(value: Any) -> int:
    """Length of the first axis of all tensors in `value`, -1 where they differ or have none."""
    sizes = {int(tensor.size(0)) for tensor in tensors_of(value) if tensor.dim()}
    return sizes.pop() if len(sizes) == 1 else -1


def copied(value: Any, first: int | None, *, where_it_was: bool = False) -> Any:
    """`value` with a copy on the CPU in the place of each tensor.

    Args:
        value: tensors, numbers and texts in tuples, lists and mappings.
        first: how many of the first axis are kept; None: all.
        where_it_was: a tensor on the CPU will be used there; otherwise on the device of the model.

    Raises:
        Unfit: it is too large, or holds something else.
    """
    total = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(value))
    if first is None and total > MOST_BYTES and leading(value) > 1:
        raise Unfit(
            "the batch is too large to be kept and cannot be cut: give smaller ones, set_probe(train_batch=(inputs, targets))"
        )

    def keep(tensor: Tensor) -> Kept:
        if tensor.is_meta:
            raise Unfit("the batch is on the meta device and has no numbers")
        part = tensor.detach()
        if first is not None and part.dim():
            part = part[:first]
        there = where_it_was or tensor.device.type != "cpu"
        return Kept(part.to("cpu", copy=True), tensor.device if there else None)

    return mapped(value, Tensor, keep)


def mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """`value` with `change(x)` in the place of every `x` of a kind, in nested tuples, lists and mappings.

    Raises:
        Unfit: it holds something that may be anything.
    """
    if isinstance(value, kind):
        return change(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        items = [mapped(item, kind, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, list):
        return [mapped(item, kind, change) for item in value]
    if isinstance(value, Mapping):
        return {key: mapped(item, kind, change) for key, item in value.items()}
    raise Unfit(
        f"the model is given a {type(value).__name__}, which cannot be copied: give batches of tensors, "
        "set_probe(train_batch=(inputs, targets))"
    )


def _fresh(kept: Kept, device: torch.device) -> Tensor:
    return kept.tensor.to(kept.device or device, copy=True)
