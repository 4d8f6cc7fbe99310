"""Checks what users pass to the writer: each error says what was expected, what came, and what to do."""

from __future__ import annotations

import keyword
import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

KINDS = ("note", "config_change", "save", "restore")
SPLITS = ("train", "val")
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


def batch(
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
    return Logged(
        loss=scalar("loss", loss),
        step=None if step is None else integer("step", step),
        epoch=None if epoch is None else integer("epoch", epoch),
        inputs=None if inputs is None else _tensor("inputs", inputs),
        targets=None if targets is None else _tensor("targets", targets),
        per_sample=None if per_sample is None else _vector("per_sample", per_sample),
        sample_ids=None if sample_ids is None else _ids(sample_ids),
        batch_size=None if batch_size is None else integer("batch_size", batch_size),
        source=source if source is None or isinstance(source, str) else float(source),
        hidden=hidden,
        columns={name: scalar(name, value) for name, value in columns.items()},
        graph=loss if isinstance(loss, Tensor) and loss.requires_grad else None,
    )


def scalar(name: str, value: Any) -> float | Tensor:
    """A float, or a detached 0-d tensor where the value is on a device."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(
                f"{name} expects one number, got a tensor of shape {tuple(value.shape)}: take its mean, and give the rest as per_sample"
            )
        value = value.detach().reshape(())
        return float(value) if value.device.type == "cpu" else value
    return number(name, value)


def number(name: str, value: Any) -> float:
    """A float of a number, a NumPy scalar or a tensor of one element."""
    if isinstance(value, (str, bytes)) or value is None:
        raise TypeError(f"{name} expects a number, got {type(value).__name__}: pass the loss itself, as in loss.item()")
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} expects a number or a tensor of one element, got {type(value).__name__}") from None


def integer(name: str, value: Any) -> int:
    """An int of an integer, or of a number or one-element tensor that is a whole one."""
    if not isinstance(value, (str, bytes, bool)) and value is not None:
        try:
            if math.isfinite(float(value)) and float(value) == int(value):
                return int(value)
        except (TypeError, ValueError, RuntimeError):
            pass  # the sentence below says it
    raise TypeError(f"{name} expects an integer, got {value!r:.80}")


def split(value: Any) -> None:
    """Checks the argument of `wrap`."""
    if value not in SPLITS:
        raise ValueError(
            f"wrap(split=...) expects 'train' or 'val', got {value!r}: use 'val' for every loader that is not trained on"
        )


def loss_tag(value: Any) -> None:
    """Checks the argument of the writer."""
    if value is not None and (not isinstance(value, str) or not value):
        raise TypeError(f"loss_tag expects the tag of an add_scalar call, such as 'Loss/train', got {value!r}")


def note(text: Any, kind: Any) -> None:
    """Checks the arguments of `note`."""
    if not isinstance(text, str):
        raise TypeError(f"note(text) expects a text, got {type(text).__name__}: give data as keywords, note('saved', path=...)")
    if kind not in KINDS:
        raise ValueError(f"note(kind=...) expects one of {', '.join(map(repr, KINDS))}, got {kind!r}")


def config(value: Any) -> dict[str, Any]:
    """The user's settings as a dict; a namespace is taken as its variables."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return dict(vars(value))
    raise TypeError(
        f"watch(config=...) expects a dict of settings, got {type(value).__name__}: pass vars(args) for parsed arguments"
    )


def items(value: Any) -> list[Any]:
    """One thing or a sequence of them as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def modules(name: str, value: Any) -> list[nn.Module]:
    """One module or a sequence of them as a list."""
    found = items(value)
    for one in found:
        if not isinstance(one, nn.Module):
            raise TypeError(f"watch({name}) expects a torch.nn.Module or a sequence of them, got {type(one).__name__}")
    return found


def optimizers(value: Any) -> list[Optimizer]:
    """One optimiser or a sequence of them as a list; a wrapper that holds one as `optimizer` counts as that one."""
    found = []
    for one in items(value):
        inner = one if isinstance(one, Optimizer) else getattr(one, "optimizer", None)
        if not isinstance(inner, Optimizer):
            raise TypeError(f"watch(optimizer) expects a torch.optim.Optimizer or a sequence of them, got {type(one).__name__}")
        found.append(inner)
    return found


def batches(losses: Any, sizes: Any) -> tuple[list[float] | None, list[float] | None]:
    """Losses and sizes of the batches of a validation as lists."""
    if losses is None:
        if sizes is not None:
            raise ValueError("log_validation(batch_sizes=...) expects batch_losses as well, got none")
        return None, None
    values = _list("batch_losses", losses)
    if sizes is None:
        return values, None
    weights = _list("batch_sizes", sizes)
    if len(weights) != len(values):
        raise ValueError(f"log_validation() expects as many batch_sizes as batch_losses, got {len(weights)} and {len(values)}")
    return values, weights


def _list(name: str, values: Any) -> list[float]:
    if isinstance(values, Tensor):
        values = values.detach().reshape(-1).tolist()
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"log_validation({name}=...) expects a sequence of numbers, got {type(values).__name__}")
    return [number(name, value) for value in values]


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        import torch

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
