"""Checks what users pass to `log_batch`."""

from __future__ import annotations

import keyword
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.record.arguments import count, dense, has_numbers, scalar
from tb_losslens.record.batch import tensors_of
from tb_losslens.record.host_view import host_view

OURS = frozenset(
    (
        "step",
        "time",
        "loss",
        "epoch",
        "index",
        "batch_size",
        "data_wait",
        "classes",
        "class_rest",
        "sample_ids",
        "per_sample",
        "logged_loss",
    )
)
"""Columns that the writer fills itself; `log_batch` has an argument of its own for those that a user may know."""


@dataclass(frozen=True)
class Logged:
    """Checked arguments of `log_batch`; numbers are floats, or 0-d tensors on a device that must not be waited for."""

    loss: float | Tensor
    step: int | None
    epoch: int | None
    inputs: Tensor | None
    targets: Tensor | None
    per_sample: Tensor | NDArray[Any] | None
    sample_ids: NDArray[np.int64] | None
    batch_size: int | None
    source: float | str | None
    hidden: Any
    columns: dict[str, float | Tensor]
    graph: Tensor | None


def check_batch(
    *,
    loss: Any,
    step: Any,
    epoch: Any,
    inputs: Any,
    targets: Any,
    per_sample: Any,
    sample_ids: Any,
    batch_size: Any,
    source: Any,
    hidden: Any,
    columns: Mapping[str, Any],
) -> Logged:
    """The arguments of `log_batch`, checked."""
    for name in columns:
        if name in OURS:
            raise ValueError(
                f"log_batch(): {name!r} is a column that the writer fills itself; choose another name for your own number"
            )
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(
                f"log_batch(): {name!r:.80} cannot be the name of a number: choose another name, of letters, digits and _"
            )
    if source is not None and (isinstance(source, bool) or not isinstance(source, (str, numbers.Real))):
        raise TypeError(f"log_batch(source=...) expects a number or a name, got {type(source).__name__}")
    if hidden is not None and not isinstance(hidden, numbers.Real) and next(tensors_of(hidden), None) is None:
        raise TypeError(f"log_batch(hidden=...) expects a tensor, a tuple of them, or their norm, got {type(hidden).__name__}")
    losses = None if per_sample is None else _vector("per_sample", per_sample)
    ids = None if sample_ids is None else _ids(sample_ids)
    if losses is not None and ids is not None and len(losses) != len(ids):
        raise ValueError(f"log_batch() expects one per_sample loss for each of sample_ids, got {len(losses)} and {len(ids)}")
    return Logged(
        loss=scalar("log_batch(loss)", loss),
        step=None if step is None else count("log_batch(step=...)", step),
        epoch=None if epoch is None else count("log_batch(epoch=...)", epoch),
        inputs=None if inputs is None else _tensor("inputs", inputs),
        targets=None if targets is None else _tensor("targets", targets),
        per_sample=losses,
        sample_ids=ids,
        batch_size=None if batch_size is None else count("log_batch(batch_size=...)", batch_size),
        source=source if source is None or isinstance(source, str) else float(source),
        hidden=hidden,
        columns={name: _column(name, value) for name, value in columns.items()},
        graph=loss if isinstance(loss, Tensor) and loss.requires_grad else None,
    )


def _column(name: str, value: Any) -> float | Tensor:
    if isinstance(value, (bool, np.bool_)):
        return float(value)  # a flag of the user's own
    return scalar(f"log_batch({name}=...)", value)


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"log_batch({name}=...) expects a tensor or an array of numbers, got {type(value).__name__}") from None


def _vector(name: str, value: Any) -> Tensor | NDArray[Any]:
    if isinstance(value, Tensor):
        if value.dim() > 1:
            raise ValueError(f"log_batch({name}=...) expects one loss a sample, got a tensor of shape {tuple(value.shape)}")
        if value.is_complex():
            raise TypeError(f"log_batch({name}=...) expects one number a sample, got a tensor of {value.dtype}")
        return dense(has_numbers(f"log_batch({name}=...)", value.detach())).reshape(-1)
    if isinstance(value, (list, tuple)):  # of losses that may still have their graph
        value = [item.detach() if isinstance(item, Tensor) else item for item in value]
    try:
        array = np.asarray(value)
        numbers = None if array.dtype.kind == "c" else array.astype(np.float32, copy=False)
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if numbers is None:
        raise TypeError(f"log_batch({name}=...) expects one number a sample, got {type(value).__name__}")
    if numbers.ndim > 1:
        raise ValueError(f"log_batch({name}=...) expects one loss a sample, got an array of shape {numbers.shape}")
    return numbers.reshape(-1)


def _ids(value: Any) -> NDArray[np.int64]:
    if isinstance(value, Tensor):
        value = host_view(dense(has_numbers("log_batch(sample_ids=...)", value.detach())).cpu())
    try:
        array = np.array(value)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise TypeError(f"log_batch(sample_ids=...) expects a flat sequence of integers, got {value!r:.80}")
    return array.astype(np.int64)
