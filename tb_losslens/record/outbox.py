"""Hands rows and records over to the session in their order, each when its values are known."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.record.deferred import Deferred
from tb_losslens.record.disk.session import Session


@dataclass(eq=False)
class Sent:
    """What becomes one row on disk.

    Attributes:
        values: columns known so far.
        later: values that a device has still to compute.
        ids: dataset indices, or None.
        classes: pairs (class, count), or None.
        lists: other list-valued signals.
        held: True while something that belongs to the row may still come from elsewhere.
        place: index of its batch in the session, -1 until it is handed over.
        stored: True once the session has it.
    """

    values: dict[str, float]
    later: Deferred = field(default_factory=Deferred)
    ids: NDArray[np.int64] | None = None
    classes: NDArray[np.int64] | None = None
    lists: dict[str, Any] = field(default_factory=dict)
    held: bool = False
    place: int = -1
    stored: bool = False


class Outbox:
    """A queue in front of the session that keeps rows and records in order.

    Args:
        session: where they go.
        before: called with each row right before the session gets it.
        after: called with each row when the session has it.
    """

    def __init__(self, session: Session, before: Callable[[Sent], None], after: Callable[[Sent], None]) -> None:
        self._session = session
        self._before = before
        self._after = after
        self._queue: deque[Sent | tuple[str, int | None, str, Mapping[str, Any], float]] = deque()
        self._newest: Sent | None = None
        self._step = 0
        self._turn = RLock()

    def put(self, row: Sent) -> None:
        """Adds a row; it is stored at once if it is complete and nothing waits before it. The same row again is no other."""
        if not row.stored and not any(one is row for one in self._queue):
            self._queue.append(row)
        self.drain()

    @property
    def idle(self) -> bool:
        """True while nothing waits to be stored."""
        return not self._queue

    def store(self, values: dict[str, float], ids: NDArray[np.int64] | None) -> None:
        """Stores a row that is complete; nothing may be waiting."""
        self._session.put(values, ids=ids)
        self._newest = None
        self._step = int(values["step"])

    def went(self, step: int) -> None:
        """The session got rows in another way, the last of them with this step; nothing was waiting."""
        self._newest = None
        self._step = step

    def adopt(self, row: Sent) -> None:
        """The row that was stored last, so that it can be amended."""
        self._newest = row

    def record(
        self,
        kind: str,
        step: int | None = None,
        text: str = "",
        fields: Mapping[str, Any] | None = None,
        when: float | None = None,
    ) -> None:
        """Adds a record, before the next row and after all rows so far; its step is that of the last row by default."""
        self._queue.append((kind, step, text, fields or {}, time.time() if when is None else when))
        self.drain()

    def amend(self, row: Sent, values: Mapping[str, float]) -> None:
        """Gives a row that was put values that came later; ignored once a newer row is stored."""
        row.values.update(values)
        if row.stored and row is self._newest:
            self._session.amend(values)

    def drain(self, *, wait: bool = False, force: bool = False) -> None:
        """Stores what is complete, in order.

        Args:
            wait: waits for what a device has still to compute.
            force: does not wait for what is held.
        """
        # a thread of the user's that logs may come in the middle: who is at it takes what was added meanwhile
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._drain(wait=wait, force=force)
        finally:
            self._turn.release()

    def _drain(self, *, wait: bool, force: bool) -> None:
        queue = self._queue
        while queue:
            head = queue[0]
            if isinstance(head, Sent):
                if (head.held and not force) or not (wait or head.later.ready):
                    return
                try:
                    if not head.stored:
                        self._store(head)
                except Exception:
                    queue.popleft()  # it must not stand in the way of the others
                    raise
                queue.popleft()  # only now: an interrupt may come at any point, and the next call goes on from there
            else:
                queue.popleft()
                kind, step, text, fields, when = head
                self._session.record(kind, step=self._step if step is None else step, text=text, fields=fields, when=when)

    def _store(self, row: Sent) -> None:
        if row.place < 0:
            self._complete(row)
            row.place = self._session.batches
        if self._session.batches == row.place:
            self._session.put(row.values, ids=row.ids, classes=row.classes, lists=row.lists or None)
        row.stored = True
        row.ids = row.classes = None
        self._newest = row
        self._step = int(row.values.get("step", 0))
        self._after(row)

    def _complete(self, row: Sent) -> None:
        row.values.update(row.later.result())
        if "input_nonfinite" in row.values:  # a device counts in floats
            row.values["input_nonfinite"] = int(row.values["input_nonfinite"])
        self._before(row)
