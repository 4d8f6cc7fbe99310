"""Reads the configuration of a training off its objects: a flat mapping from readable names to plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tb_losslens.record.facts import criterion_facts, scheduler_facts
from tb_losslens.record.measures import unwrapped
from tb_losslens.record.sharded import named_parameters

NAMED = 32
"""Modules of one kind that are listed by name; of more, the modules with each value are counted."""

CHILDREN = 32
"""Top-level modules whose trainable parameters are counted one by one."""

MOST = 256
"""Values of a snapshot."""

_RATES = ("p", "dropout", "dropout_p", "drop_prob", "drop_rate", "attention_dropout", "hidden_dropout", "activation_dropout")
_READ = (*_RATES, "momentum")
_VALUES = (float, int, bool, str, type(None))
_CLASS_WEIGHTS = 16
_LOADER = ("class", "dataset", "dataset_size", "batch_size", "shuffle", "drop_last", "workers", "sampler", "batch_sampler")


def config_values(
    models: Sequence[nn.Module],
    optimizers: Sequence[Optimizer],
    schedulers: Sequence[Any] = (),
    criteria: Sequence[Any] = (),
    loader: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The configuration as it is now; no tensor of a device is read, and nothing is called that belongs to the user.

    Returns:
        At most 256 pairs: "optimizer group 0 weight_decay", "dropout of body.3", "momentum of bn1", "trainable parameters in
        head", "scheduler patience", "criterion label_smoothing", "loader batch_size"... A second model, optimiser,
        scheduler or criterion has its number: "optimizer 1 group 0 lr".
    """
    found: dict[str, Any] = {}
    for prefix, one in _numbered("optimizer", optimizers):
        found.update(_optimizer(prefix, one))
    for prefix, one in _numbered("scheduler", schedulers):
        found.update({f"{prefix} {key}": value for key, value in scheduler_facts(one).items()})
    for prefix, one in _numbered("criterion", criteria):
        found.update({f"{prefix} {key}": value for key, value in (criterion_facts(one) | _class_weights(one)).items()})
    found.update({f"loader {key}": loader[key] for key in _LOADER if loader and loader.get(key) is not None})
    for prefix, model in _numbered("model", [unwrapped(model) for model in models]):
        found.update(_model("" if prefix == "model" else f"{prefix} ", model))
    return dict(list(found.items())[:MOST])


def config_mark(
    models: Sequence[nn.Module],
    optimizers: Sequence[Optimizer],
    schedulers: Sequence[Any] = (),
    criteria: Sequence[Any] = (),
    loader: Mapping[str, Any] | None = None,
) -> list[Any] | None:
    """What `config_values` is read from, as it stands there: while the mark is equal to an earlier one, so are the values.

    It is made in a third of the time, and holds nothing alive. None where something is among it that cannot be compared so, as
    a tensor, or a criterion that is made of others.
    """
    mark: list[Any] = [scheduler_facts(one) for one in schedulers]
    mark += [loader.get(key) for key in _LOADER] if loader else []
    for optimizer in optimizers:
        mark.append(type(optimizer))
        for group in optimizer.param_groups:
            mark.append(tuple(group))
            for key, value in group.items():
                kind = type(value)
                if key == "params":
                    mark.append(len(value))
                elif kind in _VALUES:
                    mark.append(value)
                elif kind in (tuple, list) and all(type(one) in _VALUES for one in value):
                    mark.append(tuple(value))
                else:
                    return None
    for criterion in criteria:
        own = vars(criterion) if isinstance(criterion, nn.Module) else {}
        if own.get("_modules"):
            return None
        weighted = getattr(criterion, "weight", None) is not None
        mark += [id(criterion), weighted, tuple(_class_weights(criterion).items())]
        for key, value in own.items():
            if not key.startswith("_"):
                if type(value) not in _VALUES:
                    return None
                mark.append(value)
    for model in models:
        for module in unwrapped(model).modules():
            own = module.__dict__
            if isinstance(module, torch.jit.ScriptModule):  # whose parameters are elsewhere
                return None
            mark.append(id(module))
            for key in _READ:
                value = own.get(key)
                if type(value) in _VALUES:
                    mark.append(value)
                elif isinstance(value, (int, float)) or key == "momentum":
                    return None
            for parameter in own["_parameters"].values():
                if parameter is not None:
                    if nn.parameter.is_lazy(parameter):
                        return None
                    mark += (id(parameter), parameter.requires_grad, parameter.numel())
    return mark


def _numbered(kind: str, things: Sequence[Any]) -> list[tuple[str, Any]]:
    return [(kind if not i else f"{kind} {i}", thing) for i, thing in enumerate(things)]


def _optimizer(prefix: str, optimizer: Optimizer) -> dict[str, Any]:
    found: dict[str, Any] = {f"{prefix} class": type(optimizer).__name__, f"{prefix} groups": len(optimizer.param_groups)}
    for number, group in enumerate(optimizer.param_groups):
        values = {key: _plain(value) for key, value in group.items() if key != "params"}
        found.update({f"{prefix} group {number} {key}": value for key, value in values.items() if value is not None})
        found[f"{prefix} group {number} tensors"] = len(group["params"])
    return found


def _class_weights(criterion: Any) -> dict[str, Any]:
    found = {}
    for name in ("weight", "pos_weight"):
        value = getattr(criterion, name, None)
        if isinstance(value, Tensor) and value.device.type == "cpu" and value.numel() <= _CLASS_WEIGHTS:
            found[name] = value.detach().tolist()
    return found


def _model(prefix: str, model: nn.Module) -> dict[str, Any]:
    rates: dict[str, float] = {}
    momenta: dict[str, float | None] = {}
    count = 0
    for name, module in model.named_modules():
        count += 1
        for key in _RATES:
            value = module.__dict__.get(key)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and (key != "p" or _is_dropout(module)):
                rates[f"{name}.{key}" if name and key != "p" else name or key] = float(value)
        if isinstance(module, nn.modules.batchnorm._NormBase):
            momenta[name] = module.momentum  # None: a cumulative average
    found: dict[str, Any] = {f"{prefix}modules": count}
    found.update(_listed(f"{prefix}dropout", rates))
    found.update(_listed(f"{prefix}momentum", momenta))
    found.update(_trainable(prefix, model))
    return found


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd) or "drop" in type(module).__name__.lower()


def _listed(what: str, values: Mapping[str, float | None]) -> dict[str, Any]:
    """By name where they are few, else how many modules have each value."""
    if len(values) <= NAMED:
        return {f"{what} of {name}": value for name, value in values.items()}
    counts = Counter("none" if value is None else f"{value:g}" for value in values.values())
    return {f"{what} of {len(values)} modules": dict(sorted(counts.items())[:NAMED])}


def _trainable(prefix: str, model: nn.Module) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for name, parameter in _parameters(model):
        child = name.split(".", 1)[0] if "." in name else "the model itself"
        key = child if child in counts or len(counts) < CHILDREN else "other modules"
        counts[key] = counts.get(key, 0) + (parameter.numel() if parameter.requires_grad else 0)
    return {f"{prefix}trainable parameters in {child}": count for child, count in counts.items()}


def _parameters(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    return ((name, p) for name, p in named_parameters(model) if not nn.parameter.is_lazy(p))


def _plain(value: Any) -> Any:
    """A setting as JSON holds it; None for what is no number, text or short list of them, or is on a device."""
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 and value.device.type == "cpu" else None
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and len(value) <= 16:
        items = [_plain(item) for item in value]
        return None if None in items else items
    return None
