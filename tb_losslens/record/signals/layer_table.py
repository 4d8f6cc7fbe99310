"""Names the layers of what is trained: one for each parameter tensor, or for groups of them where there are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from tb_losslens.record.measures import local, unwrapped
from tb_losslens.record.sharded import named_parameters
from tb_losslens.record.signals.sample import can_sample

_OTHER = "other"


class LayerTable:
    """The trained parameters and the number of the layer that each belongs to.

    A layer keeps its number as long as this lives: new ones are added behind, one that is gone leaves its place empty, and
    a parameter that replaces another of the same name takes its place. So position i of a list always belongs to name i.

    A parameter that no watched model has is named after the optimiser's class, its group and its place there.
    Shared parameters count once, under their first name.

    Args:
        most: layers; where there are more parameters, those that share a prefix of their names are one layer, with the
            longest prefixes that leave at most so many. What comes beyond them later is one more layer, "other".

    Attributes:
        names: name of each layer.
        parameters: those that can be read, on the one device that has most of them.
        layers: number of the layer of each parameter.
        grouped: layers stand for several parameters.
        elsewhere: names of parameters that cannot be read, with the reason.
    """

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._depth: int | None = None
        self._numbers: dict[str, int] = {}
        self._signature: tuple[int, ...] = ()
        self._waiting: list[Tensor] = []
        self.parameters: list[Tensor] = []
        self.layers: list[int] = []
        self.elsewhere: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Name of each layer, by its number."""
        return list(self._numbers)

    @property
    def grouped(self) -> bool:
        """True if a layer may stand for several parameters."""
        return self._depth is not None or _OTHER in self._numbers

    def stale(self, models: Sequence[nn.Module], optimizers: Sequence[Optimizer]) -> bool:
        """True if `refresh` is due: another number of models or parameters, or one that had no memory yet has it now."""
        return self._signature != _signature(models, optimizers) or any(not is_lazy(p) for p in self._waiting)

    def refresh(self, models: Sequence[nn.Module], optimizers: Sequence[Optimizer]) -> bool:
        """Looks again which parameters there are; True if names or parameters have changed."""
        self._signature = _signature(models, optimizers)
        named = dict(_named(models, optimizers))
        self._waiting = [p for p in named.values() if is_lazy(p)]
        usable = {name: p for name, p in named.items() if can_sample(p)}
        devices = [local(p).device for p in usable.values()]
        home = max(devices, key=devices.count) if devices else None
        self.elsewhere = {name: "it has no dense numbers in memory" for name, p in named.items() if name not in usable}
        self.elsewhere |= {name: f"it is not on {home}" for name, p in usable.items() if local(p).device != home}
        if not self._numbers and len(named) > self._most:
            self._depth = _depth(list(named), self._most)
        known = len(self._numbers)
        for name in named:
            self._number(name)
        kept = {name: p for name, p in usable.items() if name not in self.elsewhere}
        parameters, layers = list(kept.values()), [self._number(name) for name in kept]
        same = layers == self.layers and known == len(self._numbers)
        changed = not same or any(a is not b for a, b in zip(parameters, self.parameters, strict=True))
        self.parameters, self.layers = parameters, layers
        return changed

    def facts(self) -> dict[str, Any]:
        """The table as facts of the run."""
        facts: dict[str, Any] = {"names": self.names, "grouped": self.grouped}
        if self.elsewhere:
            facts["skipped"] = dict(list(self.elsewhere.items())[:32])
        return facts

    def _number(self, name: str) -> int:
        layer = name if self._depth is None else ".".join(name.split(".")[: self._depth])
        if layer not in self._numbers and len(self._numbers) >= self._most:
            layer = _OTHER
        return self._numbers.setdefault(layer, len(self._numbers))


def _signature(models: Sequence[nn.Module], optimizers: Sequence[Optimizer]) -> tuple[int, ...]:
    # a walk through the modules would cost more than what it guards; optimisers list what they train
    return (*map(id, models), *(len(group["params"]) for optimizer in optimizers for group in optimizer.param_groups))


def _named(models: Sequence[nn.Module], optimizers: Sequence[Optimizer]) -> Iterator[tuple[str, Tensor]]:
    seen: set[int] = set()
    for i, model in enumerate(models):
        inner = unwrapped(model)
        before = f"{type(inner).__name__}{i + 1}." if i else ""
        for name, parameter in named_parameters(inner):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                yield before + name, parameter
    for i, optimizer in enumerate(optimizers):
        for g, group in enumerate(optimizer.param_groups):
            for k, parameter in enumerate(group["params"]):
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{type(optimizer).__name__}{i + 1 if i else ''}.{g}.{k}", parameter


def _depth(names: Sequence[str], most: int) -> int:
    """Longest prefix of dotted names, in parts, of which there are at most `most`; 1 if there is none."""
    parts = [name.split(".") for name in names]
    for depth in range(max(map(len, parts)), 0, -1):
        if len({tuple(part[:depth]) for part in parts}) <= most:
            return depth
    return 1
