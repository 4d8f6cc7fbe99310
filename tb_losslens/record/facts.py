"""Facts about what is trained and how, as plain JSON: class names and numbers, never tensors."""

from __future__ import annotations

import inspect
import platform
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from tb_losslens import __version__

_KEPT_IN_GROUPS = frozenset({"max_lr", "swa_lr", "base_momentum", "max_momentum"})
"""Settings of schedulers that these keep in the parameter groups."""

MOST_SETTINGS = 16
"""Settings of a criterion that are kept, and losses that it is made of."""


def model_facts(model: nn.Module) -> dict[str, Any]:
    """Class, parameters, how many modules change with the mode, and how many can carry state from batch to batch."""
    modules = list(model.modules())
    return {
        "class": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters() if not isinstance(p, nn.UninitializedParameter)),
        "trainable": sum(
            p.numel() for p in model.parameters() if p.requires_grad and not isinstance(p, nn.UninitializedParameter)
        ),
        "dropout": sum(
            float(getattr(module, "p", 0.0)) > 0 for module in modules if isinstance(module, nn.modules.dropout._DropoutNd)
        )
        + sum(_has_inner_dropout(module) for module in modules),
        "batchnorm": sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in modules),
        "recurrent": sum(isinstance(module, (nn.RNNBase, nn.RNNCellBase)) for module in modules),
        **_shards(model),
    }


def _shards(model: nn.Module) -> dict[str, int]:
    """Over how many processes every trained parameter is cut (`fully_shard`); nothing where one of them is whole."""
    meshes = [getattr(p, "device_mesh", None) for p in model.parameters() if p.requires_grad]
    cut = [p.placements for p in model.parameters() if p.requires_grad and hasattr(p, "placements")]
    if not meshes or None in meshes or not all(len(placements) == 1 and placements[0].is_shard() for placements in cut):
        return {}
    return {"shards": int(meshes[0].size())}  # type: ignore[union-attr]


def _has_inner_dropout(module: nn.Module) -> bool:
    inner = getattr(module, "dropout", 0.0)
    return isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and isinstance(inner, float) and inner > 0


def optimizer_facts(optimizer: Optimizer) -> dict[str, Any]:
    """Class, defaults, the size of each parameter group, and of how many parameters it remembers something."""
    groups = [len(group["params"]) for group in optimizer.param_groups]
    kept = sum(bool(state) for state in optimizer.state.values())
    return {"class": type(optimizer).__name__, "defaults": plain(optimizer.defaults), "groups": groups, "with_state": kept}


def scheduler_facts(scheduler: Any) -> dict[str, Any]:
    """Class, the settings that it was made with as far as it keeps them, and the rates that it began with.

    Of a scheduler that is made of others, theirs follow: "0 class", "0 gamma", "1 class", ...
    """
    kind: Any = type(scheduler)
    known = {name: _setting(scheduler, name) for name in (*_arguments(kind), "base_lrs")}
    found = {"class": type(scheduler).__name__, **{name: value for name, value in known.items() if value is not None}}
    found.update(_shape(scheduler))
    for number, part in enumerate(_parts(scheduler)):
        found.update({f"{number} {name}": value for name, value in scheduler_facts(part).items()})
    return found


@lru_cache(maxsize=256)
def _arguments(kind: type) -> tuple[str, ...]:
    """Names of what a scheduler is made with. They are asked for at both ends of each epoch, and to read them takes long."""
    return tuple(name for name in inspect.signature(kind).parameters if name not in ("optimizer", "last_epoch", "verbose"))


def _setting(scheduler: Any, name: str) -> Any:
    value = getattr(scheduler, name, getattr(scheduler, f"_{name}", getattr(scheduler, f"{name}s", None)))
    if name == "lr_lambda" and isinstance(value, list):
        return [_function(one) for one in value[:16]]
    if value is None and name in _KEPT_IN_GROUPS:
        groups = getattr(getattr(scheduler, "optimizer", None), "param_groups", ())
        value = [group[name] for group in groups if name in group] or None
    if isinstance(value, Counter):  # as MultiStepLR keeps its milestones
        value = sorted(value.elements())
    return value if _is_plain(value) else None


def _shape(scheduler: Any) -> dict[str, Any]:
    """What OneCycleLR and CyclicLR were given, and keep in another form."""
    if type(scheduler).__module__ != "torch.optim.lr_scheduler":
        return {}
    if type(scheduler).__name__ == "OneCycleLR":
        ends = [phase["end_step"] for phase in scheduler._schedule_phases]
        pct = (ends[0] + 1) / scheduler.total_steps
        return {"pct_start": round(pct, 12), "three_phase": len(ends) > 2, "anneal_strategy": scheduler._anneal_func_type}
    if type(scheduler).__name__ == "CyclicLR":
        up = scheduler.total_size * scheduler.step_ratio
        return {"step_size_up": round(up, 6), "step_size_down": round(scheduler.total_size - up, 6)}
    return {}


def _parts(scheduler: Any) -> list[Any]:
    """The schedulers that it is made of, as `SequentialLR` and `ChainedScheduler` are."""
    if type(scheduler).__module__ != "torch.optim.lr_scheduler":
        return []
    return list(getattr(scheduler, "_schedulers", ()))[:8]


def _function(function: Any) -> str:
    """Name of a function, and what of a `functools.partial` is bound to it by name."""
    bound = getattr(function, "keywords", None) or {}
    inner = getattr(function, "func", function)
    name = str(getattr(inner, "__name__", type(inner).__name__))
    plain_ones = {key: value for key, value in bound.items() if _is_plain(value)}
    return f"{name}({', '.join(f'{key}={value}' for key, value in plain_ones.items())})" if plain_ones else name


def criterion_facts(criterion: Any) -> dict[str, Any]:
    """Class (or name of a function) and the settings that change its value: numbers and texts that it keeps under public names.

    Of a criterion that is made of losses, theirs follow under the names that these have in it: "ce label_smoothing".
    """
    if not isinstance(criterion, nn.Module):
        return {"class": getattr(criterion, "__name__", type(criterion).__name__)}
    known = {
        name: value
        for name, value in vars(criterion).items()
        if not name.startswith("_") and name not in ("training", "call_super_init") and value is not None and _is_plain(value)
    }
    weighted = any(getattr(criterion, name, None) is not None for name in ("weight", "pos_weight"))
    found = {"class": type(criterion).__name__, **dict(list(known.items())[:MOST_SETTINGS]), "weighted": weighted}
    parts = [(name, part) for name, part in criterion.named_children() if isinstance(part, nn.modules.loss._Loss)]
    for name, part in parts[:MOST_SETTINGS]:
        found.update({f"{name} {key}": value for key, value in criterion_facts(part).items()})
    return found


def versions() -> dict[str, str]:
    """Versions of what has a part in a training."""
    return {"losslens": __version__, "torch": torch.__version__, "python": platform.python_version(), "numpy": np.__version__}


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """A mapping with what JSON cannot hold as text."""
    return {str(key): value if _is_plain(value) else _as_text(value)[:200] for key, value in values.items()}


def _as_text(value: Any) -> str:
    """What is no plain value; of a tensor on a device not its numbers, which would have to be waited for."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_as_text, value))})"
    if isinstance(value, torch.Tensor) and value.device.type != "cpu":
        return f"tensor of shape {tuple(value.shape)} on {value.device}"
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - it is the user's own, and must not cost the settings beside it
        return f"{type(value).__name__} without a text ({type(error).__name__})"


def _is_plain(value: Any) -> bool:
    if value is None or isinstance(value, (bool, int, float, str)):
        return True
    return isinstance(value, (list, tuple)) and len(value) <= 16 and all(_is_plain(item) for item in value)
