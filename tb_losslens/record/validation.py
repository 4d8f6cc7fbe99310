"""Gathers what is seen of one validation: its loss, its inputs and the mode of the model."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from tb_losslens.record.deferred import Deferred
from tb_losslens.record.loss_tag import is_held_out, is_loss

_MOST_BATCHES = 2048


class Validation:
    """One evaluation, from its first batch until its value is known.

    The value is, in this order: what `log_validation` is told, the scalar that the user writes for it, the mean of the
    criterion's losses weighted by batch size.

    Attributes:
        batches: batches of a wrapped loader.
        samples: samples in them, as far as known.
        over: True once its loop has ended; its value may still come.
        implicit: nobody said that it begins: the model was called without gradients outside the training loop.
    """

    def __init__(self, epoch: int, counter: float = -1.0) -> None:
        self.epoch = epoch
        self.step: int | None = None
        self.batches = 0
        self.samples = 0
        self.over = False
        self.implicit = False
        self.value: float | None = None
        self.source = ""
        self._counter = counter
        self._counter_end = counter
        self._losses: list[float | Tensor] = []
        self._sizes: list[int] = []
        self._given: tuple[list[float], list[float]] | None = None
        self._modes: set[float] = set()
        self._inputs: list[tuple[Any, Any, int]] = []
        self._nonfinite: list[Any] = []

    def forward(self, mode: float, moments: dict[str, Any], size: int) -> None:
        """A forward of the model inside it."""
        self._modes.add(mode)
        if moments and len(self._inputs) < _MOST_BATCHES:
            self._inputs.append((moments["input_mean"], moments["input_std"], size))
            self._nonfinite.append(moments["input_nonfinite"])

    def counters(self, count: float) -> None:
        """Updates of the normalisation layers after a forward."""
        self._counter_end = count

    def loss(self, value: float | Tensor, size: int) -> None:
        """A call of the criterion inside it; a tensor is a 0-d result on a device."""
        if len(self._losses) < _MOST_BATCHES:
            self._losses.append(value)
            self._sizes.append(size)

    def set(self, value: float, source: str) -> None:
        """Takes the user's own value; a scalar does not replace what `log_validation` was told."""
        if self.source != "log_validation" or source == "log_validation":
            self.value, self.source = value, source

    def details(self, losses: list[float] | None, sizes: list[float] | None) -> None:
        """The user's own losses and sizes of batches."""
        if losses is not None:
            self._given = (losses, sizes or [])

    def fields(self) -> dict[str, Any]:
        """Fields of the `validation_end` record; waits for a device where the numbers are still on it."""
        losses = _numbers(self._losses)
        computed = _mean(losses, self._sizes)
        value = self.value if self.value is not None else computed
        source = self.source or ("criterion" if value is not None else "")
        if self._given is not None:
            losses, sizes = self._given
        else:
            sizes = [float(size) for size in self._sizes]
        fields: dict[str, Any] = {"value": value, "epoch": self.epoch, "source": source, "batches": self.batches or len(losses)}
        n = self.samples or sum(size for size in sizes if size > 0)
        if n:
            fields["n"] = int(n)
        if computed is not None and self.value is not None:
            fields["computed"] = computed
        if losses:
            fields["batch_losses"] = losses
            if len(sizes) == len(losses):
                fields["batch_sizes"] = sizes
        if self._modes:
            fields["train_mode"] = self._modes.pop() if len(self._modes) == 1 else 0.5
        if self._counter >= 0:
            fields["bn_updates"] = self._counter_end - self._counter
        fields.update(self._input_fields())
        return fields

    def _input_fields(self) -> dict[str, float]:
        if not self._inputs:
            return {}
        means = _numbers([mean for mean, _, _ in self._inputs])
        stds = _numbers([std for _, std, _ in self._inputs])
        weights = [size for _, _, size in self._inputs]
        mean = _mean(means, weights)
        second = _mean([s * s + m * m for m, s in zip(means, stds, strict=True)], weights)
        if mean is None or second is None:
            return {}
        fields = {"input_mean": mean, "input_std": math.sqrt(max(second - mean * mean, 0.0))}
        bad = sum(_numbers(self._nonfinite))
        return {**fields, "input_nonfinite": bad} if bad else fields


def is_validation_loss(tag: str) -> bool:
    """True if a scalar of this name is the loss on held-out data."""
    return is_loss(tag) and is_held_out(tag)


def _numbers(values: list[Any]) -> list[float]:
    """Floats of numbers and 0-d tensors, in one copy from the device."""
    deferred = Deferred()
    for position, value in enumerate(values):
        if isinstance(value, Tensor):
            deferred.add(str(position), value)
    late = deferred.result()
    return [late[str(position)] if isinstance(value, Tensor) else float(value) for position, value in enumerate(values)]


def _mean(values: list[float], weights: list[int]) -> float | None:
    if not values:
        return None
    known = weights if all(weight > 0 for weight in weights) else [1] * len(values)
    return sum(v * w for v, w in zip(values, known, strict=True)) / sum(known)
