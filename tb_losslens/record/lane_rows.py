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

    They are series, one for each chunk, as long as they are of the same size; a row that cannot be of one is stored as every
    other row is.

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
        """Stores a row: as the first of a new series, or else as every other row is."""
        self.settle()
        recorder, usual = self._recorder, self._usual
        values[INDEX] = recorder.steps.epochs.rows
        size = len(ids) if ids is not None else -1
        usually, self._size = size == self._size, size
        if usually and self._begin(size):  # where each batch has another size, a series of one is no gain
            assert self.series is not None
            if self.series.put(values, ids, perf_counter()):
                self.number, self.given = int(values[NUMBER]), given
                return
            self.settle()
        numbers = as_ids(ids) if ids is not None else None
        row = {**dict(zip(usual.names, values, strict=True)), **usual.constants}
        self._coming = row, numbers, given
        recorder.outbox.store(row, numbers)
        self._came()

    def _begin(self, size: int) -> bool:
        """Begins a series of rows with so many ids each; False where that cannot be."""
        recorder, usual = self._recorder, self._usual
        if not recorder.session.lead(usual.names):
            return False
        self.clock = time() - perf_counter()
        self.series = recorder.session.series(usual.names, dict(usual.constants), size)
        if self.series is None:
            return False
        self.base = recorder.steps.epochs.rows - self.series.count
        return True

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
