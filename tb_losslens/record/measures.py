"""Small numbers read off tensors: each leaves them as they are and draws no random number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_PLAIN = frozenset({Tensor, nn.Parameter})
_FEW = 24
"""Tensors on the CPU up to which it is faster to add up their norms in Python."""


def total_norm(gradients: Sequence[Tensor]) -> Tensor | float | None:
    """2-norm of all gradients together; 0-d on the device of the first where that is not the CPU; None if there are none."""
    return total_of(norms_of(gradients))


def norms_of(gradients: Sequence[Tensor]) -> list[Tensor]:
    """2-norm of each gradient, 0-d on its device, in single precision or better; those of one place of a sparse one add up."""
    if not gradients:
        return []
    with torch.no_grad():
        dense = [values_of_sparse(g) if g.is_sparse else g for g in gradients]
        types = {g.dtype for g in dense}
        if types & {torch.float16, torch.bfloat16}:
            # in half precision a norm would have three digits, and end at 65,504
            wide = torch.float64 if torch.float64 in types else torch.float32
            return list(torch._foreach_norm(dense, 2, dtype=wide))
        return list(torch._foreach_norm(dense))


def total_of(norms: Sequence[Tensor]) -> Tensor | float | None:
    """2-norm of norms; 0-d on the device of the first that is not on the CPU; None if there are none."""
    if not norms:
        return None
    with torch.no_grad():
        here = [norm for norm in norms if norm.device.type == "cpu"]
        there = [norm for norm in norms if norm.device.type != "cpu"]
        if not there:
            return math.hypot(*[norm.item() for norm in here]) if len(here) <= _FEW else _joined(here)
        total = _joined(there)
        # a number of the host is filled in on the device: a copy there, or of the device's here, would be waited for
        return torch.hypot(total, torch.full_like(total, float(_joined(here)))) if here else total


def _joined(norms: Sequence[Tensor]) -> Tensor:
    """2-norm of norms, 0-d on the device of the first."""
    first = norms[0]
    if any(norm.device != first.device or norm.dtype != first.dtype for norm in norms):
        norms = [norm.to(first.device, torch.float32) for norm in norms]
    total: Tensor = torch.linalg.vector_norm(torch.stack(list(norms)))
    return total


def values_of_sparse(tensor: Tensor) -> Tensor:
    """The values of a sparse (COO) tensor, those of one place added up; shape (k, ...), of which some may be zeros.

    Nothing waits for a device: how many places differ is left open, zeros fill up what is not needed.
    """
    if tensor.device.type == "cpu" or tensor.is_coalesced():
        return tensor.coalesce().values()
    values, indices = tensor._values(), tensor._indices()
    place = torch.zeros_like(indices[0])
    for size, index in zip(tensor.shape, indices, strict=False):  # the dimensions that are sparse come first
        place = place * size + index
    ordered, order = place.sort()
    number = torch.cat((torch.zeros_like(ordered[:1]), (ordered[1:] != ordered[:-1]).long())).cumsum(0)
    return torch.zeros_like(values).index_add_(0, number, values[order])


def widest(device: torch.device) -> torch.dtype:
    """The floating type of most digits that a device computes in."""
    return torch.float32 if device.type == "mps" else torch.float64


def unscaled(norm: Tensor | float, scale: Any) -> Tensor | float:
    """A norm divided by the AMP scale, if there is one."""
    if not isinstance(scale, Tensor):
        return norm
    return norm / scale.to(norm.device) if isinstance(norm, Tensor) else norm / scale.detach()


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The gradients that are there; of sharded ones the part of this process, so that no process waits for another."""
    return [local(p.grad) for p in parameters if p.grad is not None]


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimiser."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor (DTensor) that this process holds; any other tensor as it is."""
    if type(tensor) in _PLAIN or not hasattr(tensor, "to_local"):
        return tensor
    part: Tensor = tensor.to_local()
    return part


def is_dense(tensor: Tensor) -> bool:
    """True if it has a number in memory for each of its elements: not sparse, nested, quantized, nor on the meta device."""
    return tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized or tensor.is_meta)


def input_moments(tensor: Tensor) -> dict[str, Tensor | float]:
    """`input_mean`, `input_std`, `input_nonfinite` of all elements, in one pass over the values and one over their squares.

    0-d tensors where `tensor` is not on the CPU, so that nothing has to wait for it. The moments leave non-finite elements out.
    Empty for a tensor that is complex or not dense.
    """
    if tensor.is_complex() or not is_dense(tensor):
        return {}
    with torch.no_grad():
        flat = local(tensor.detach()).reshape(-1)
        if tensor.device.type == "cpu":
            return _cpu_moments(flat)
        values = flat.float()
        finite = torch.isfinite(values)
        count = finite.sum()
        clean = torch.where(finite, values, torch.zeros((), device=values.device))
        wide = widest(tensor.device)
        mean = clean.sum(dtype=wide) / count
        square = (clean * clean).sum(dtype=wide) / count
        return {
            "input_mean": mean,
            "input_std": (square - mean * mean).clamp_(min=0).sqrt(),
            "input_nonfinite": flat.numel() - count,
        }


def _cpu_moments(flat: Tensor) -> dict[str, Tensor | float]:
    values = flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
    size = values.numel()
    mean, square = values.sum().item() / size, torch.dot(values, values).item() / size
    spread = square - mean * mean
    bad = 0
    if not math.isfinite(spread) or spread < 1e-4 * mean * mean:
        # overflow, something that is not finite, or a mean so large that the difference above lost its digits
        good = values[torch.isfinite(values)].double()
        bad = size - good.numel()
        mean = good.mean().item()
        spread = (good - mean).square().mean().item()
    return {
        "input_mean": mean,
        "input_std": math.nan if math.isnan(spread) else math.sqrt(max(spread, 0.0)),
        "input_nonfinite": bad,
    }


def first_floating(value: Any, depth: int = 3) -> Tensor | None:
    """The first floating tensor with elements in nested arguments, or None."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() and value.numel() and is_dense(value) else None
    if depth and isinstance(value, dict):
        value = tuple(value.values())
    if depth and isinstance(value, (tuple, list)):
        for item in value:
            found = first_floating(item, depth - 1)
            if found is not None:
                return found
    return None


def training_share(modules: Sequence[nn.Module]) -> float:
    """1 if every module is in training mode, 0 if none is, 0.5 if some are."""
    on = sum(module.training for module in modules)
    return 1.0 if on == len(modules) else 0.5 if on else 0.0


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module inside `torch.compile`, DistributedDataParallel or DataParallel."""
    home = type(model).__module__
    if not home.startswith("torch.") or home.startswith("torch.nn.modules."):  # the usual ones first: a module looks long
        return model
    for name in ("_orig_mod", "module"):
        inner = getattr(model, name, None)
        if isinstance(inner, nn.Module):
            return unwrapped(inner)
    return model


def batch_counters(modules: Iterable[nn.Module]) -> list[Tensor]:
    """`num_batches_tracked` of every module that keeps running statistics."""
    counters = (getattr(module, "num_batches_tracked", None) for module in modules)
    return [counter for counter in counters if isinstance(counter, Tensor)]
