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

from tb_losslens.record.arguments import integer, scalar
from tb_losslens.record.batch import tensors_of

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
        if name in OURS or not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(
                f"log_batch(): {name!r} is a column that the writer fills itself; choose another name for your own number"
            )
    if source is not None and not isinstance(source, (str, numbers.Real)):
        raise TypeError(f"log_batch(source=...) expects a number or a name, got {type(source).__name__}")
    if hidden is not None and not isinstance(hidden, numbers.Real) and next(tensors_of(hidden), None) is None:
        raise TypeError(f"log_batch(hidden=...) expects a tensor, a tuple of them, or their norm, got {type(hidden).__name__}")
    return Logged(
        loss=scalar("log_batch(loss)", loss),
        step=None if step is None else integer("log_batch(step=...)", step),
        epoch=None if epoch is None else integer("log_batch(epoch=...)", epoch),
        inputs=None if inputs is None else _tensor("inputs", inputs),
        targets=None if targets is None else _tensor("targets", targets),
        per_sample=None if per_sample is None else _vector("per_sample", per_sample),
        sample_ids=None if sample_ids is None else _ids(sample_ids),
        batch_size=None if batch_size is None else integer("log_batch(batch_size=...)", batch_size),
        source=source if source is None or isinstance(source, str) else float(source),
        hidden=hidden,
        columns={name: scalar(f"log_batch({name}=...)", value) for name, value in columns.items()},
        graph=loss if isinstance(loss, Tensor) and loss.requires_grad else None,
    )


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
        return value.detach().reshape(-1)
    try:
        array = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise TypeError(f"log_batch({name}=...) expects one number a sample, got {type(value).__name__}") from None
    if array.ndim > 1:
        raise ValueError(f"log_batch({name}=...) expects one loss a sample, got an array of shape {array.shape}")
    return array.reshape(-1)


def _ids(value: Any) -> NDArray[np.int64]:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    try:
        array = np.array(value)
    except ValueError:
        array = np.empty(0, dtype=object)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise TypeError(f"log_batch(sample_ids=...) expects a flat sequence of integers, got {value!r:.80}")
    return array.astype(np.int64)
