"""Tells what an optimiser remembers: how many steps it has made, and the size of its moments."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.collector import Collector
from tb_losslens.record.late_fields import LateFields
from tb_losslens.record.measures import local, parameters_of, total_norm
from tb_losslens.record.row import Row
from tb_losslens.record.signals.sample import Sample, can_sample

FIRST = ("exp_avg", "momentum_buffer")
"""Names of a mean of gradients: Adam and its kin; SGD and RMSprop with momentum, Muon."""

SECOND = ("exp_avg_sq", "square_avg", "sum", "exp_inf")
"""Names of a mean, sum or maximum of squared gradients: Adam; RMSprop and Adadelta; Adagrad; Adamax."""


class OptimizerState(Collector):
    """Is the optimiser's memory that of the training, or was it lost, as after a resume without it?

    Columns of a row with a step: `opt_step`, steps by the optimiser's own count; `moment1_norm` and `moment2_norm`, 2-norms of
    its means of gradients and of squared gradients after the step, estimated from up to 256 elements of each parameter.
    Absent where an optimiser has none: plain SGD counts nothing. Those of the second watched optimiser end in `.1`, and so on.

    Fields at both ends of an epoch: `optimizer_state`, an `optimizer_digest` for each. Its numbers that are on a device
    come with a later record instead, in `late_optimizer_state`, a list of {"at", "epoch", "0.norms.exp_avg", ...}.

    Args:
        optimizers: gives the watched optimisers.
    """

    deep = True
    dear_ends = exact_ends = True
    name = "optimizer state"

    def __init__(self, optimizers: Callable[[], Sequence[Optimizer]]) -> None:
        self._optimizers = optimizers
        self._samples: weakref.WeakKeyDictionary[Optimizer, Sample] = weakref.WeakKeyDictionary()
        self._late = LateFields("late_optimizer_state")

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:
        """The state after the step."""
        number = next((i for i, known in enumerate(self._optimizers()) if known is optimizer), 0)
        end = f".{number}" if number else ""
        sample = self._sample(optimizer)
        states = [optimizer.state.get(parameter) or {} for parameter in sample.parameters]
        counts = (one["step"] for one in (*states, *optimizer.param_groups) if "step" in one)
        values = {f"opt_step{end}": _number(count) for count in islice(counts, 1)}
        for column, names in (("moment1_norm", FIRST), ("moment2_norm", SECOND)):
            key = _key(states, names, sample)
            if key is not None:
                # of another size are the moments of an optimiser that keeps them for whole rows or packed
                found = [one.get(key) for one in states]
                sizes = zip(found, sample.parameters, strict=True)
                moments = sample.of([t if t is not None and t.numel() == p.numel() else None for t, p in sizes])
                values[column + end] = sample.dot(moments, sample.weighed(moments)) ** 0.5
        if values:
            self.tell(row, values)

    def epoch_begins(self, epoch: int) -> dict[str, Any]:
        """The state that the epoch begins with."""
        self._samples.clear()
        return self._fields({"at": "epoch_begin", "epoch": epoch})

    def epoch_ends(self, epoch: int) -> dict[str, Any]:
        """The state that it leaves."""
        return self._fields({"at": "epoch_end", "epoch": epoch})

    def unread(self, kind: str, epoch: int) -> None:  # noqa: ARG002 - a collector's signature
        """An optimiser may have got other parameters."""
        self._samples.clear()

    def late(self) -> list[dict[str, Any]]:
        """What devices still owed and have computed by now."""
        return self._late.ready()

    def _fields(self, at: dict[str, Any]) -> dict[str, Any]:
        digests = [optimizer_digest(optimizer) for optimizer in self._optimizers()]
        owed = {}
        for i, digest in enumerate(digests):
            for field in ("step", "norms"):
                named = digest.get(field, {})
                named = dict(zip(("least", "most"), named, strict=True)) if field == "step" and named else named
                tensors = {f"{i}.{field}.{name}": value for name, value in named.items() if isinstance(value, Tensor)}
                if tensors:
                    owed.update(tensors)
                    del digest[field]
        return {"optimizer_state": digests, **self._late.take(at, owed)}

    def _sample(self, optimizer: Optimizer) -> Sample:
        sample = self._samples.get(optimizer)
        if sample is None or not sample.fits():
            parameters = [p for p in parameters_of(optimizer) if can_sample(p)]
            devices = [local(p).device for p in parameters]
            home = max(devices, key=devices.count) if devices else None
            sample = self._samples[optimizer] = Sample([p for p in parameters if local(p).device == home])
        return sample


def optimizer_digest(optimizer: Optimizer) -> dict[str, Any]:
    """What the state of an optimiser is, to be compared with what it was before.

    Returns:
        `class`; `parameters`, how many it has, and `with_state`, how many of them it remembers something of; `step`, the
        least and the largest of its counts of steps, where it counts; `norms`, the exact 2-norm by name of all
        floating tensors of its state, single numbers aside: those of the shape of their parameter, and what is kept for its
        rows and columns (Adafactor) or for all parameters at once (LBFGS); `numbers`, any other plain numbers of its
        state by name. Values are plain numbers, or 0-d tensors where they are on a device.
    """
    parameters = parameters_of(optimizer)
    states = [(p, optimizer.state[p]) for p in parameters if optimizer.state.get(p)]
    digest: dict[str, Any] = {"class": type(optimizer).__name__, "parameters": len(parameters), "with_state": len(states)}
    steps = _steps(optimizer)
    if steps:
        digest["step"] = _ends(steps)
    tensors: dict[str, list[Tensor]] = {}
    numbers: dict[str, float] = {}
    for parameter, state in states:
        for name, value in state.items():
            if isinstance(value, Tensor) and (value.shape == parameter.shape or value.numel() > 1) and name != "step":
                if value.layout is not torch.strided or can_sample(value):
                    tensors.setdefault(str(name), []).append(local(value.detach()))
            elif isinstance(value, (int, float)) and not isinstance(value, bool) and name != "step":
                numbers.setdefault(str(name), value)
    norms = {name: _number(norm) for name, found in tensors.items() if (norm := total_norm(found)) is not None}
    if norms:
        digest["norms"] = norms
    if numbers:
        digest["numbers"] = numbers
    return digest


def _key(states: Sequence[Mapping[str, Any]], names: Sequence[str], sample: Sample) -> str | None:
    """Which of `names` the optimiser keeps as dense numbers, where its parameters are."""
    for state, parameter in zip(states, sample.parameters, strict=True):
        for name in names if state else ():
            value = state.get(name)
            if isinstance(value, Tensor) and value.shape == parameter.shape and can_sample(value):
                return name if local(value).device == sample.device else None
        if state:
            return None  # the others are kept in the same way
    return None


def _steps(optimizer: Optimizer) -> list[Any]:
    """Counts of steps: of each parameter, else of each group; empty if the optimiser keeps none."""
    states = (optimizer.state.get(p) for p in parameters_of(optimizer))
    counts = [state["step"] for state in states if state and isinstance(state.get("step"), (int, float, Tensor))]
    return counts or [group["step"] for group in optimizer.param_groups if isinstance(group.get("step"), (int, float, Tensor))]


def _ends(counts: Sequence[Any]) -> list[Any]:
    there = [count.detach().reshape(()) for count in counts if isinstance(count, Tensor) and count.device.type != "cpu"]
    numbers = [float(count) for count in counts if not isinstance(count, Tensor) or count.device.type == "cpu"]
    if not there:
        return [min(numbers), max(numbers)]
    stacked = torch.stack([count.to(there[0].device) for count in there])
    least, most = stacked.min(), stacked.max()
    return [least.clamp(max=min(numbers)), most.clamp(min=max(numbers))] if numbers else [least, most]


def _number(value: Any) -> Any:
    """A plain number, but a 0-d tensor where it is on a device."""
    if not isinstance(value, Tensor):
        return float(value)
    return value.item() if value.device.type == "cpu" else value.detach()
