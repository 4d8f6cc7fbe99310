"""Tells each collector about the moments that it asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tb_losslens.record.batch import Batch
from tb_losslens.record.collector import Collector
from tb_losslens.record.ends import Ends
from tb_losslens.record.guard import Guard
from tb_losslens.record.row import Row
from tb_losslens.record.thread_clock import thread_time

_MOMENTS = (
    "forward_begins",
    "inputs_given",
    "forward_ends",
    "criterion_called",
    "targets_logged",
    "backward_begins",
    "backward_ends",
    "step_begins",
    "step_ends",
    "completes",
    "delivered",
    "epoch_begins",
    "epoch_ends",
    "validation_begins",
    "validation_ends",
    "heldout_delivered",
    "heldout_forward_begins",
    "heldout_forward_ends",
    "heldout_criterion_called",
)


class Collectors:
    """All collectors of one writer.

    Args:
        guard: runs each of them under its name.
        put: puts numbers into a row.

    Attributes:
        deep_spent: seconds in which deep collectors ran so far.
    """

    def __init__(self, guard: Guard, put: Callable[[Row, Mapping[str, float | Tensor]], None]) -> None:
        self._guard = guard
        self._put = put
        self.deep_spent = 0.0
        self._ends = Ends()
        self._all: list[Collector] = []
        self._by_moment: dict[str, list[tuple[Collector, Callable[..., Any]]]] = {moment: [] for moment in _MOMENTS}

    def add(self, collector: Collector) -> None:
        """Tells `collector` from now on."""
        collector.tell = self._put
        self._all.append(collector)
        for moment in _MOMENTS:
            if getattr(type(collector), moment) is not getattr(Collector, moment):
                self._by_moment[moment].append((collector, getattr(collector, moment)))

    def remove(self, collector: Collector) -> None:
        """Tells it nothing any more."""
        self._all = [known for known in self._all if known is not collector]
        for moment, told in self._by_moment.items():
            self._by_moment[moment] = [(known, method) for known, method in told if known is not collector]

    def clear(self) -> None:
        """Tells nobody anything any more."""
        self._all = []
        self._by_moment = {moment: [] for moment in _MOMENTS}

    def validation(self, moment: str, *what: Any) -> dict[str, Any]:
        """A moment of a validation: what the collectors say about it."""
        fields: dict[str, Any] = {}
        for collector, method in self._by_moment[moment]:
            fields.update(self._guard.call(collector.name, method, *what) or {})
        return fields

    def tell(self, moment: str, row: Row, *what: Any) -> None:
        """A moment of a step."""
        for collector, method in self._by_moment[moment]:
            if not (collector.each_step or (row.deep if collector.deep else row.dense)):
                continue
            if not collector.deep:
                self._guard.call(collector.name, method, row, *what)
                continue
            start = thread_time()
            self._guard.call(collector.name, method, row, *what)
            self.deep_spent += thread_time() - start

    @property
    def waiting(self) -> bool:
        """True while one of them must be told of the next row, whatever it is."""
        return any(collector.pending for collector in self._all)

    def passed(self, steps: int, *, inside: bool) -> None:
        """So many plain steps went by, of which nothing was told, and perhaps a part of one."""
        for collector in self._all:
            collector.passed(steps, inside=inside)

    @property
    def awake(self) -> bool:
        """True if one of them wants to be told of every delivery."""
        return any(c.each_step and not c.asleep for c, _ in self._by_moment["delivered"])

    def late(self, row: Row) -> None:
        """A sparse row has become dense at its loss: what it was given is looked at now, if it is still there."""
        inputs = row.inputs() if row.inputs is not None else None
        if inputs is None:
            return
        for collector, method in self._by_moment["inputs_given"]:
            if not collector.each_step and not collector.deep:
                self._guard.call(collector.name, method, row, (inputs,), {})

    def delivered(self, batch: Batch, raw: Any) -> None:
        """A loader of training data delivered a batch."""
        for collector, method in self._by_moment["delivered"]:
            if batch.dense or collector.each_step:
                self._guard.call(collector.name, method, batch, raw)

    def epoch(self, kind: str, number: int, late: bool = False) -> dict[str, Any]:
        """What the collectors say about an epoch: fields of its "epoch_begin" or "epoch_end".

        Args:
            kind: of the record.
            number: of the epoch.
            late: a part of the first step after the boundary has been made: what counts is gone.

        Returns:
            The fields; `states_read` false where the dear states were not read at this boundary, neither here nor on its other
            side, with `late` true where that is why.
        """
        fields: dict[str, Any] = {}
        if kind == "epoch_end":
            self._ends.ended(skip=late)
        reads = self._ends.reads and not late
        if not reads:
            fields = {"states_read": False, **({"late": True} if late else {})}
        for collector, method in self._by_moment[f"{kind}s"]:
            if (late and collector.exact_ends) or (collector.dear_ends and not reads):
                fields.update(self._guard.call(collector.name, collector.unread, kind, number) or {})
            elif collector.dear_ends:
                start = thread_time()
                fields.update(self._guard.call(collector.name, method, number) or {})
                self._ends.paid(thread_time() - start)
            else:
                fields.update(self._guard.call(collector.name, method, number) or {})
        return fields
