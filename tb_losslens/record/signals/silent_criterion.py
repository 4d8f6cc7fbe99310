"""Notices that the watched criterion is called no more: its loss is that of the training no longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.collector import Collector
from tb_losslens.record.row import Row

Note = Callable[[str, str, Mapping[str, Any]], None]


class SilentCriterion(Collector):
    """A note where an epoch goes by with steps and without a call of the criterion, after one in which it was called.

    Somebody replaced it: from there on the loss of a batch is unknown, unless it is logged.

    Args:
        note: records an event by kind, text and fields.
    """

    name = "silent criterion"
    each_step = True

    def __init__(self, note: Note) -> None:
        self._note = note
        self._called = self._stepped = self._before = False
        self._in_row = self._in_last_row = False

    def criterion_called(self, row: Row, given: tuple[Any, ...], loss: Tensor) -> None:  # noqa: ARG002
        """It is the one that is trained with."""
        self._called = self._in_row = True

    def step_ends(self, row: Row, optimizer: Optimizer) -> None:  # noqa: ARG002 - a collector's signature
        """Something is trained."""
        self._stepped = True
        self._in_row, self._in_last_row = False, self._in_row

    def passed(self, steps: int, *, inside: bool) -> None:  # noqa: ARG002
        """Plain steps are like the one before them."""
        self._stepped |= steps > 0
        self._called |= steps > 0 and self._in_last_row

    def epoch_ends(self, epoch: int) -> None:
        """Says it, once for each time."""
        if self._stepped and self._before and not self._called:
            text = f"the watched criterion was not called in epoch {epoch}: say what is, writer.watch(criterion=criterion)"
            self._note("note", text, {"about": "criterion", "epoch": epoch})
        if self._stepped:
            self._before = self._called
        self._called = self._stepped = False
