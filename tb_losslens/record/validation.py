"""Gathers what is seen of one validation: its loss, its inputs and the mode of the model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from tb_losslens.record.deferred import Deferred

_MOST_BATCHES = 2048


class Validation:
    """One evaluation, from its first batch until its value is known.

    The value is, in this order: what `log_validation` is told, the scalar that the user writes for it, the mean of the
    criterion's losses weighted by batch size. Where no criterion is watched, the losses of batches by a function that is known
    stand beside the user's value, and never in its place.

    Args:
        epoch: number of the epoch that it follows.
        counter: updates of running statistics so far, -1 without any.

    Attributes:
        more: further fields of its end.
        step: the user's own step, if it was given.
        batches: batches of a wrapped loader.
        samples: samples in them, as far as known.
        source: where the user's own value came from, "" without one.
        ended: when its loop ended, seconds since 1970.
        over: True once its loop has ended; its value may still come.
        implicit: nobody said that it begins: the model was called without gradients outside the training loop. Without a value
            it proves nothing: samples are drawn, labels made and statistics of BatchNorm estimated in the same way.
    """

    def __init__(self, epoch: int, counter: float = -1.0) -> None:
        self.epoch = epoch
        self.step: int | None = None
        self.more: dict[str, Any] = {}
        self.batches = 0
        self.samples = 0
        self.source = ""
        self.over = False
        self.implicit = False
        self.ended = time.time()
        self._value: float | None = None
        self._scalars: list[float] = []
        self._counter = self._counter_end = counter
        self._losses: list[float | Tensor] = []
        self._sizes: list[float] = []
        self._by_function: list[tuple[Tensor, float]] = []
        self._calls = 0
        self._modes: set[float] = set()
        self._inputs: list[tuple[Any, Any, Any, int]] = []

    def forward(self, mode: float, moments: dict[str, Any], size: int) -> None:
        """A call of the model inside it."""
        self._modes.add(mode)
        self._calls += 1
        if moments and len(self._inputs) < _MOST_BATCHES:
            self._inputs.append((moments["input_mean"], moments["input_std"], moments["input_nonfinite"], size))

    def goes_on(self, mode: float) -> bool:
        """True if a call in this mode may belong to it: before its first loss, another mode begins something else."""
        return not self._modes or mode in self._modes or len(self._losses) > 0 or self._value is not None

    def finish(self, counter: Callable[[], float]) -> None:
        """Its loop has ended, if it had not before."""
        if not self.over:
            self.over = True
            self.ended = time.time()
            self._counter_end = counter() if self._counter >= 0 else -1.0

    def loss(self, value: float | Tensor, size: int) -> None:
        """A call of the criterion inside it; a tensor is a 0-d result on a device."""
        if len(self._losses) < _MOST_BATCHES:
            self._losses.append(value)
            self._sizes.append(size)

    def function_loss(self, value: Tensor, size: int) -> None:
        """The loss of a batch by the function that the training loss is, where no criterion is watched; 0-d, on any device."""
        if len(self._by_function) < _MOST_BATCHES:
            self._by_function.append((value, size))

    def set(self, value: float, source: str, *, step: int | None = None, epoch: int | None = None) -> None:
        """Takes the user's own value; a scalar does not replace what `log_validation` was told.

        A scalar that is written several times inside the validation is one of a batch: their mean is its value.
        """
        if source != "log_validation":
            if self.source == "log_validation":
                return
            self._scalars = [*self._scalars, value] if not self.over else [value]
            value = math.fsum(self._scalars) / len(self._scalars)
        self._value, self.source = value, source
        self.step = step if step is not None else self.step
        self.epoch = epoch if epoch is not None else self.epoch

    def details(self, losses: Sequence[float], sizes: Sequence[float] | None) -> None:
        """The user's own losses and sizes of its batches."""
        self._losses, self._sizes = list(losses), list(sizes or [])

    def fields(self) -> dict[str, Any]:
        """Fields of the `validation_end` record; waits for a device where numbers are still on it."""
        values, sizes = self._losses, self._sizes
        if not values and self._value is not None and len(self._by_function) == self._calls == self.batches:
            values, sizes = [loss for loss, _ in self._by_function], [size for _, size in self._by_function]
        losses = _numbers(values)
        computed = _mean(losses, sizes)
        value = computed if self._value is None else self._value
        fields: dict[str, Any] = {
            "value": value,
            "epoch": self.epoch,
            "source": self.source or ("criterion" if value is not None else ""),
            "batches": self.batches or len(losses),
            "n": self.samples or int(sum(size for size in sizes if size > 0)),
        }
        if len(self._scalars) > 1 and self.source != "log_validation":
            fields["scalars"] = len(self._scalars)  # written in its batches: the value is their mean
        if self._value is not None and computed is not None:
            fields["computed"] = computed
        if losses:
            fields["batch_losses"] = losses
            if len(sizes) == len(losses):
                fields["batch_sizes"] = sizes
        if self._modes:
            fields["train_mode"] = next(iter(self._modes)) if len(self._modes) == 1 else 0.5
        if self.implicit:
            fields["implicit"], fields["several_modes"] = True, len(self._modes) > 1
        if self._counter >= 0:
            fields["bn_updates"] = int(self._counter_end - self._counter)
        return {**fields, **self._input_fields(), **self.more}

    def _input_fields(self) -> dict[str, float]:
        means, stds, bad = (_numbers([row[column] for row in self._inputs]) for column in range(3))
        sizes = [float(row[3]) for row in self._inputs]
        mean = _mean(means, sizes)
        second = _mean([std * std + mean * mean for mean, std in zip(means, stds, strict=True)], sizes)
        if mean is None or second is None:
            return {}
        return {"input_mean": mean, "input_std": math.sqrt(max(second - mean * mean, 0.0)), "input_nonfinite": sum(bad)}


def _numbers(values: list[Any]) -> list[float]:
    """Floats of numbers and 0-d tensors, in one copy from the device; NaN of one on the meta device, which has none."""
    deferred = Deferred()
    for position, value in enumerate(values):
        if isinstance(value, Tensor):
            deferred.add(str(position), value)
    late = deferred.result()
    return [late.get(str(i), math.nan) if isinstance(value, Tensor) else float(value) for i, value in enumerate(values)]


def _mean(values: list[float], weights: list[float]) -> float | None:
    """Mean weighted by sizes; plain where one of them is unknown; None of nothing."""
    if not values:
        return None
    known = len(weights) == len(values) and all(weight > 0 for weight in weights)
    sizes = weights if known else [1.0] * len(values)
    return math.fsum(v * w for v, w in zip(values, sizes, strict=True)) / math.fsum(sizes)
