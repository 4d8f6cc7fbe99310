"""Rows of the short way: straight into the memory of the chunk, and told to everybody else many at a time."""

from __future__ import annotations

from array import array
from time import perf_counter, time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tb_losslens.record.disk.series import Series
from tb_losslens.record.lane_start import INDEX, LOSS, NUMBER, Usual
from tb_losslens.record.sampler_tap import as_ids

if TYPE_CHECKING:
    from tb_losslens.record.recorder import Recorder


class LaneRows:
    """The rows of one sequence, from its first to its last.

    The first row of each chunk is stored as every other row is, those after it as a series, as long as they are of the
    same size.

    Args:
        recorder: what has to be told of rows.
        usual: the sequence.

    Attributes:
        series: takes the next rows; None where the next one goes by `store`.
        clock: what makes the time since 1970 of one by `time.perf_counter`; taken anew for each series.
        base: what makes the index in the epoch of the series' count of rows.
        number: the step of the newest row.
        given: what the user gave as its step.
        count: rows so far.
        newest: the newest row, once all are settled.
    """

    __slots__ = (
        "_coming",
        "_first",
        "_recorder",
        "_size",
        "_usual",
        "base",
        "clock",
        "count",
        "given",
        "newest",
        "number",
        "series",
    )

    def __init__(self, recorder: Recorder, usual: Usual) -> None:
        self._recorder = recorder
        self._usual = usual
        self._first = recorder.session.batches
        self._size = usual.row.batch.size if usual.row.batch is not None else -1
        self.series: Series | None = None
        self.clock = time() - perf_counter()
        self.base = self.count = 0
        self.number = recorder.steps.numbers.last
        self.given: int | None = None
        self.newest: dict[str, float] = {}
        self._coming: tuple[dict[str, float], NDArray[np.int64] | None, int | None] | None = None

    def store(self, values: list[float], ids: array[int] | None, given: int | None) -> None:
        """Stores a row, and looks whether those after it may be a series."""
        self.settle()
        recorder, usual = self._recorder, self._usual
        values[INDEX] = recorder.steps.epochs.rows
        numbers = as_ids(ids) if ids is not None else None
        row = {**dict(zip(usual.names, values, strict=True)), **usual.constants}
        led = recorder.session.lead(usual.names)
        self._coming = row, numbers, given
        recorder.outbox.store(row, numbers)
        self._came()
        size = len(ids) if ids is not None else -1
        if led and size == self._size:  # where each batch has another size, a series of one is no gain
            self.clock = time() - perf_counter()
            self.series = recorder.session.series(usual.names, dict(usual.constants), size)
            if self.series is not None:
                self.base = recorder.steps.epochs.rows - self.series.count
        self._size = size

    def _came(self) -> None:
        if self._coming is not None:
            row, ids, self.given = self._coming
            self.newest, self.number = row, int(row["step"])
            self._tell([row["loss"]], [self.number], ids)
            self._coming = None

    def catch_up(self) -> None:
        """Counts a row that the session has and that is not counted: an interrupt came right after it was stored."""
        if self._recorder.session.batches > self._first + self.count:
            self._came()
            self.count += 1

    def settle(self) -> None:
        """Ends the series: its rows are then known everywhere."""
        series, self.series = self.series, None
        self._recorder.steps.numbers.went(self.number, self.given)
        block = self._recorder.session.settle(series) if series is not None else None
        if block is None or not len(block):
            return
        names = self._usual.names
        self.newest = {**dict(zip(names, block.last(len(names)), strict=True)), **self._usual.constants}
        steps = block.column(NUMBER).tolist()
        self.number = steps[-1]
        self._tell(block.column(LOSS).tolist(), steps, block.ids)

    def _tell(self, losses: list[float], steps: list[int], ids: object) -> None:
        recorder = self._recorder
        recorder.steps.loss.count(self._usual.loss_source, len(losses))
        recorder.steps.numbers.went(self.number, self.given)
        recorder.outbox.went(self.number)
        recorder.steps.epochs.went(len(losses), ids)
        recorder.stored(losses, int(self._usual.constants["epoch"]), steps)
