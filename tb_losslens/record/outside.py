"""Notices that a training goes on beside its wrapped loader: with another one that is not wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tb_losslens.record.recorder import Recorder

LEAST = 8
"""Steps that are made after an epoch, at least, before anything is said of them."""


class OutsideSteps:
    """Counts steps of the optimiser since the last epoch that belong to no batch of a wrapped loader.

    A few of them are a part of an epoch, as where the remainder of an accumulation is stepped after its loop. As many as
    the epoch had batches are an epoch that is not recorded, which is said once for each time that the loader is lost.

    Args:
        warn: called with a sentence.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._epoch = -1
        self._before = 0

    def stepped(self, recorder: Recorder) -> None:
        """A step is about to be made."""
        epochs = recorder.steps.epochs
        if epochs.open or recorder.steps.current is not None or not epochs.length:
            return
        if epochs.number != self._epoch:
            self._epoch, self._before = epochs.number, epochs.steps_outside
        steps = epochs.steps_outside + 1 - self._before
        if steps != max(LEAST, epochs.length):
            return
        fields: dict[str, Any] = {"about": "loader", "steps": steps, "epoch": epochs.number}
        text = (
            f"{steps} steps were made after epoch {epochs.number} without a batch of a wrapped loader, and are not recorded: "
            "if another loader took its place, wrap it, train_loader = writer.wrap(train_loader)"
        )
        recorder.outbox.record("note", text=text, fields=fields)
        self._warn(text)
