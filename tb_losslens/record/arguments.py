"""Checks what users pass to the writer: each error says what was expected, what came, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

KINDS = ("note", "config_change", "save", "restore")
SPLITS = ("train", "val")


def scalar(name: str, value: Any) -> float | Tensor:
    """A float, or a detached 0-d tensor where the value is on a device."""
    if isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(
                f"{name} expects one number, got a tensor of shape {tuple(value.shape)}: "
                "take its mean, and give the losses of the samples as per_sample"
            )
        if value.dtype == torch.bool or value.is_complex():
            raise TypeError(f"{name} expects a number, got a tensor of {value.dtype}")
        value = dense(value.detach()).reshape(())
        return float(value) if value.device.type == "cpu" else value
    return number(name, value)


def dense(value: Tensor) -> Tensor:
    """A sparse tensor as one that has all its numbers; any other as it is."""
    return value if value.layout is torch.strided else value.to_dense()


def has_numbers(name: str, value: Tensor) -> Tensor:
    """`value`, unless it is on the meta device, where a tensor has a shape and nothing else."""
    if value.is_meta:
        raise ValueError(f"{name} expects numbers, got a tensor on the meta device, which has none: leave it out")
    return value


def number(name: str, value: Any) -> float:
    """A float of a number, a NumPy scalar or a tensor of one element."""
    if value is None or isinstance(value, (str, bytes)) or _is_truth(value):
        raise TypeError(f"{name} expects a number, got {type(value).__name__}: pass the loss itself, as in loss.item()")
    if isinstance(value, Tensor):
        value = has_numbers(name, value.detach())
    try:
        return float(value.item() if isinstance(value, np.ndarray) else value)
    except OverflowError:
        raise ValueError(f"{name} expects a number of at most 1.8e308 in size, which a float can hold") from None
    except (TypeError, ValueError, RuntimeError):
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else ""
        raise TypeError(f"{name} expects a number or a tensor of one element, got {type(value).__name__}{shape}") from None


LARGEST = 1 << 53
"""Largest step or epoch: beyond it a float64, as which a browser reads it, has no room for every integer."""


def integer(name: str, value: Any) -> int:
    """An int of an integer, or of a number or one-element tensor that is a whole one; what a file can hold of it."""
    if value is not None and not isinstance(value, (str, bytes)) and not _is_truth(value):
        number: int | None = None
        try:
            if math.isfinite(float(value)) and float(value) == int(value):
                number = int(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            pass  # the sentence below says it
        if number is not None and abs(number) <= LARGEST:
            return number
        if number is not None:
            raise ValueError(f"{name} expects at most 2**53 in size, got {value!r:.80}")
    raise TypeError(f"{name} expects an integer, got {value!r:.80}")


def count(name: str, value: Any) -> int:
    """An integer from 0 on: a step, an epoch or a size, whose -1 stands for "unknown" in a file."""
    found = integer(name, value)
    if found < 0:
        raise ValueError(f"{name} expects 0 or more, got {found}: leave it out where it is unknown")
    return found


def _is_truth(value: Any) -> bool:
    """True for what is true or false, and no number to anybody who wrote it."""
    if isinstance(value, Tensor):
        return value.dtype == torch.bool
    return isinstance(value, (bool, np.bool_)) or (isinstance(value, np.ndarray) and value.dtype.kind == "b")


def run(value: Any) -> None:
    """Checks the argument of the writer."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"run expects the name that TensorBoard gives the run, a text, got {type(value).__name__}")


def scaler(value: Any) -> None:
    """Checks the AMP scaler of `watch`: any object that has a scale, such as those that strategies derive from it."""
    if value is not None and not callable(getattr(value, "get_scale", None)) and not hasattr(value, "_scale"):
        raise TypeError(f"watch(scaler=...) expects a torch.amp.GradScaler, got {type(value).__name__}")


def loader(value: Any) -> None:
    """Checks the argument of `wrap` beyond what every iterable is."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"wrap(loader) expects something that gives batches, such as a torch DataLoader, got {value!r:.80}")


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


def modules(value: Any) -> list[nn.Module]:
    """One module or a sequence of them as a list."""
    found = [value] if isinstance(value, nn.Module) else items(value)  # an nn.Sequential is one module
    for one in found:
        if not isinstance(one, nn.Module):
            raise TypeError(f"watch(model) expects a torch.nn.Module or a sequence of them, got {type(one).__name__}")
    return found


def criteria(value: Any) -> list[Any]:
    """One criterion or a sequence of them as a list."""
    found = [value] if isinstance(value, nn.Module) else items(value)
    for one in found:
        if isinstance(one, type):
            raise TypeError(f"watch(criterion=...) expects the loss module itself, got its class: pass {one.__name__}()")
        if not callable(one):
            raise TypeError(f"watch(criterion=...) expects a loss module such as nn.MSELoss(), got {type(one).__name__}")
    return found


def schedulers(value: Any) -> list[Any]:
    """One LR scheduler or a sequence of them as a list."""
    found = items(value)
    for one in found:
        if isinstance(one, (type, Optimizer)) or not callable(getattr(one, "step", None)):
            raise TypeError(f"watch(scheduler=...) expects a scheduler from torch.optim.lr_scheduler, got {type(one).__name__}")
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
    if any(not weight >= 0 for weight in weights):
        raise ValueError(f"log_validation(batch_sizes=...) expects sizes of 0 or more, got {min(weights):g}")
    if len(weights) != len(values):
        raise ValueError(f"log_validation() expects as many batch_sizes as batch_losses, got {len(weights)} and {len(values)}")
    return values, weights


def _list(name: str, values: Any) -> list[float]:
    if isinstance(values, Tensor):
        values = dense(has_numbers(f"log_validation({name}=...)", values.detach())).reshape(-1).tolist()
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"log_validation({name}=...) expects a sequence of numbers, got {type(values).__name__}")
    return [number(f"log_validation({name}=...)", value) for value in values]
