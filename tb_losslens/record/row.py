"""What is gathered about one batch of training before it becomes a row."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tb_losslens.record.batch import Batch, Targets
from tb_losslens.record.outbox import Sent


@dataclass(eq=False)
class Row(Sent):
    """One batch of training, open until the next one begins.

    Attributes:
        batch: what the loader delivered, or None without one.
        epoch: epoch it belongs to, -1 where there is none.
        index: position among the rows of its epoch.
        released: True once it is in the outbox; later values are amended.
        forwarded: the watched model was called for it.
        backward: a backward has begun for it.
        stepped: ids of the optimisers that made a step for it.
        logged: `log_batch` was called for it.
        user_step: the user's own step, if it was given.
        scalars: candidates for the loss among the user's scalars: value and step written last, by tag.
        written: how often each of them was written.
        scalar_used: one of them has been taken.
        losses: (loss, samples) of each backward so far; a tensor is a 0-d result on a device.
        pending: criterion losses since the last backward.
        again: criterion losses for the same batch after a step, since the last backward.
        more: losses of the same batch that had a backward after a step: columns `loss.1`, `loss.2`, ...
        dense: why the signals that cost something are read for it: 1 in turn, 2 near a boundary, 3 its loss is unusual; 0 they
            are not.
        deep: what single layers and samples say is read, too; only of dense rows.
        given: something that it was called with was taken for its input.
        of_batch: that is a tensor of its batch.
        inputs: the tensor that the model was given for a row that is not dense.
        writes: how often the weights had been written to at its first call.
        aside: a later call was made at other weights, as an optimiser does that evaluates the loss several times.
    """

    batch: Batch | None = None
    epoch: int = -1
    index: int = -1
    released: bool = False
    forwarded: bool = False
    backward: bool = False
    stepped: set[int] = field(default_factory=set)
    logged: bool = False
    user_step: int | None = None
    scalars: dict[str, tuple[float, int | None]] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    scalar_used: bool = False
    losses: list[tuple[float | Tensor, int]] = field(default_factory=list)
    pending: list[tuple[float | Tensor, int]] = field(default_factory=list)
    again: list[float | Tensor] = field(default_factory=list)
    more: int = 0
    dense: int = 1
    deep: bool = True
    given: bool = False
    of_batch: bool = False
    inputs: weakref.ref[Tensor] | None = None
    writes: tuple[int, ...] | None = None
    aside: bool = False

    @property
    def has_loss(self) -> bool:
        """True if its loss is known, or on its way from a device."""
        return "loss" in self.values or "loss" in self.later.names

    def take_batch(self, batch: Batch) -> None:
        """Takes what the loader delivered, where the user has not said it."""
        self.values.setdefault("batch_size", batch.size)
        self.values["data_wait"] = batch.wait
        if self.ids is None:
            self.ids = batch.ids
        if self.classes is None and "target_mean" not in self.values:
            self.take_targets(batch.targets)

    def take_targets(self, targets: Targets) -> None:
        """Takes the class counts or the moments of its targets."""
        self.classes = targets.classes
        self.values.update(targets.columns)

    def drop_loss(self) -> None:
        """The last criterion call was not for training."""
        losses: list[Any] = self.pending or self.again
        if losses:
            losses.pop()

    def close_backward(self) -> None:
        """Criterion calls so far belong to one backward: their losses add up."""
        if self.pending:
            total = self.pending[0][0]
            for value, _ in self.pending[1:]:
                total = total + value
            self.losses.append((total, self.pending[0][1]))
            self.pending = []

    def close_again(self) -> tuple[str, float | Tensor] | None:
        """Column and loss of a backward after a step of the same batch, as a GAN has; None where there was no such."""
        if not self.again:
            return None
        total = self.again[0]
        for value in self.again[1:]:
            total = total + value
        self.again = []
        self.more += 1
        return f"loss.{self.more}", total

    def criterion_loss(self) -> float | Tensor | None:
        """Loss of the row by its criterion calls: several backwards are averaged by their samples; None without a call."""
        self.close_backward()
        if not self.losses:
            return None
        if len(self.losses) == 1:
            return self.losses[0][0]
        weights = [max(size, 0) for _, size in self.losses]
        if not sum(weights):
            weights = [1] * len(weights)
        total = self.losses[0][0] * weights[0]
        for (value, _), weight in zip(self.losses[1:], weights[1:], strict=True):
            total = total + value * weight
        return total / sum(weights)
