"""Numbers the epochs and says what each of them was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tb_losslens.record.batch import Batch
from tb_losslens.record.order import OrderDigest
from tb_losslens.record.outbox import Outbox
from tb_losslens.record.passes import Pass


class Epochs:
    """The epoch that rows belong to: a pass over a wrapped loader, or what the user calls one.

    Attributes:
        number: the open epoch, or the one before; -1 before the first.
        open: True from the first row of an epoch to its end.
        told: the number of the open epoch is the user's own, and not a count of passes.
        rows: rows of the open epoch so far.
        source: the pass that it follows, or None.
        length: rows of the epoch that ended last, 0 before.
        complete: the loop of that epoch came to its end.
        announced: number that the user gave the next epoch, or None.
        steps_outside: steps of optimisers so far where no batch was on, as after the loop of an epoch.
        on_end: called after the end of an epoch was recorded.
        about: gives further fields of a record by its kind, the number of the epoch, and whether the boundary is told late: a
            part of the first step after it has been made.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.number = -1
        self.open = self.told = False
        self.rows = 0
        self.source: Pass | None = None
        self.length = 0
        self.complete = False
        self.announced: int | None = None
        self.steps_outside = 0
        self.on_end: Callable[[], None] = lambda: None
        self.about: Callable[[str, int, bool], dict[str, Any]] = lambda _kind, _epoch, _late: {}
        self._begin_fields: dict[str, Any] = {}
        self._digest = OrderDigest()
        self._said = False

    def announce(self, number: int) -> None:
        """The next row begins this epoch."""
        self.end(complete=None)
        self.announced = number

    def rename(self, number: int) -> bool:
        """Gives the open epoch the user's number while none of its rows is released; True if that was possible."""
        if self.open and not self._said:
            self.number, self.told = number, True
            return True
        return False

    def enter(self, batch: Batch | None, *, begins: bool, late: bool = False) -> tuple[int, int]:
        """Epoch and position of a row that starts now, -1 where there are no epochs.

        Args:
            batch: what it consumes, if a loader delivered it.
            begins: True if it begins an epoch although no loader says so.
            late: a part of its step has been made.
        """
        source = batch.source if batch is not None else None
        another = source is not None and source is not self.source
        if self.open and (another or begins):
            self.end(complete=None)
        if not self.open and (source is not None or self.announced is not None or begins):
            self.told = self.announced is not None
            self.number = self.announced if self.announced is not None else self.number + 1
            self.announced = None
            self.open, self._said, self.rows = True, False, 0
            self.source = source
            self._digest = OrderDigest()
            self._begin_fields = self.about("epoch_begin", self.number, late)
        if not self.open:
            return -1, -1
        if source is not None:
            source.epoch = self.number
            source.consumed += 1
        self.rows += 1
        return self.number, self.rows - 1

    def move(self, batch: Batch | None, number: int) -> tuple[int, int]:
        """The newest row, which nobody has been told of, is the first one of this epoch: its epoch and position."""
        self.rows -= 1
        if batch is not None and batch.source is not None:
            batch.source.consumed -= 1
        self.end(complete=None, late=True)
        self.announced = number
        return self.enter(batch, begins=True, late=True)

    def adopt(self, source: Pass) -> None:
        """The first row of the open epoch belongs to another pass than it seemed."""
        if self.source is not None:
            self.source.consumed -= 1
        source.epoch, source.consumed = self.number, source.consumed + 1
        self.source = source

    def say_begin(self) -> None:
        """Records the begin of the open epoch, once, right before its first row."""
        if self.open and not self._said:
            self._said = True
            fields = {"epoch": self.number, "loader": self._loader(), **self._outside(), **self._begin_fields}
            self._outbox.record("epoch_begin", fields=fields)

    def digest(self, ids: Any) -> None:
        """Adds the ids of a row, or of several of one size."""
        self._digest.add(ids)

    def went(self, rows: int, ids: Any) -> None:
        """So many rows of its loader went by, with these ids: shape (rows, samples), or None."""
        assert self.source is not None
        self.rows += rows
        self.source.consumed += rows
        self._digest.add(ids)

    def end(self, *, complete: bool | None, late: bool = False) -> None:
        """Records the end of the open epoch; `complete` None: as its loader says, True without one."""
        if not self.open:
            return
        self.open = False
        self.length = self.rows
        if complete is None:
            complete = self.source is None or self.source.exhausted
        self.complete = complete
        fields = {
            "epoch": self.number,
            "batches": self.rows,
            "complete": complete,
            **self._digest.fields(),
            "loader": self._loader(),
            **self._outside(),
            **self.about("epoch_end", self.number, late),
        }
        self._outbox.record("epoch_end", fields=fields)
        self.on_end()

    def _outside(self) -> dict[str, int]:
        return {"steps_outside": self.steps_outside} if self.steps_outside else {}

    def _loader(self) -> dict[str, Any]:
        return self.source.loader if self.source is not None else {}
