"""Sees the loss scale of mixed precision, and the optimiser steps that it left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tb_losslens.record.collector import Collector
from tb_losslens.record.late_fields import LateFields
from tb_losslens.record.row import Row


class LossScale(Collector):
    """`amp_scale` of each row, and `amp_skipped`: 1 where the step of the row before was left out because of inf or NaN.

    A scaler halves its scale (its `backoff_factor`) exactly where it found a gradient that is not finite, and then the
    optimiser is not called, or called and told to do nothing: the scale that falls is the proof in both cases. On a device
    the two scales are compared there. A scaler that is disabled, or whose backoff factor is 1, tells nothing.

    Args:
        scaler: gives the watched `GradScaler`, or None.
    """

    name = "loss scale"
    each_step = True

    def __init__(self, scaler: Callable[[], Any]) -> None:
        self._scaler = scaler
        self._before: Tensor | float | None = None
        self._of: Any = None
        self._skipped: Tensor | float = 0
        self._seen = self._ended = False
        self._late = LateFields("late_amp", int)

    def forward_begins(self, row: Row, args: Any, kwargs: Any) -> None:  # noqa: ARG002 - a collector's signature
        """Tells the scale that this row is trained with, and whether it fell since the row before."""
        scaler = self._scaler()
        now = _scale_of(scaler)
        if now is None:
            self._before = None
            return
        values: dict[str, Tensor | float] = {"amp_scale": now}
        fell = self._fell(scaler, now)
        if fell is not None:
            values["amp_skipped"] = fell
            if not self._ended:  # else the epoch before has counted it
                self._skipped = self._skipped + fell
                self._seen = True
        self._before, self._of, self._ended = now, scaler, False
        self.tell(row, values)

    def epoch_begins(self, epoch: int) -> None:  # noqa: ARG002 - a collector's signature
        """Counts from here."""
        self._skipped, self._seen = 0, False

    def epoch_ends(self, epoch: int) -> dict[str, Any] | None:
        """`amp_skipped`: steps of the epoch that were left out; of a device with a later record, in `late_amp`."""
        scaler = self._scaler()
        now = _scale_of(scaler)
        if now is None:
            return None
        fell = self._fell(scaler, now)  # of the last step
        self._ended = True
        if fell is None and not self._seen:
            return None
        total = self._skipped if fell is None else self._skipped + fell
        return self._late.take({"at": "epoch_end", "epoch": epoch}, {"amp_skipped": total})

    def _fell(self, scaler: Any, now: Tensor | float) -> Tensor | float | None:
        """1 if the scale is below that of the row before; None where there was none, or it could not fall."""
        if self._before is None or scaler is not self._of or not 0 < float(getattr(scaler, "_backoff_factor", 0.5)) < 1:
            return None
        if isinstance(now, Tensor):  # also against the number that it began with
            with torch.no_grad():
                return (now < self._before).to(torch.float32)
        return None if isinstance(self._before, Tensor) else float(now < self._before)


def _scale_of(scaler: Any) -> Tensor | float | None:
    """The scale as it is now: a number, or a copy on its device; None for a scaler that is disabled, or without one."""
    scale = getattr(scaler, "_scale", None)
    if isinstance(scale, Tensor):
        return scale.item() if scale.device.type == "cpu" else scale.detach().clone()
    # its tensor is made at the first backward, and with the scale that it begins with the first step is left out as a rule
    first = getattr(scaler, "_init_scale", None)
    return float(first) if isinstance(first, (int, float)) and getattr(scaler, "_enabled", False) else None
