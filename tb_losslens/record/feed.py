"""Answers which pulled batch a training step has just consumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tb_losslens.record.batch import Batch


class Feed:
    """Batches that the loop has pulled and that no step has consumed yet, oldest first.

    A loop that looks ahead pulls a batch or more before it trains on the one before; a loop that accumulates may pull
    several at once; a loop may skip one. Which batch a step consumes is told by identity where the model is given a tensor
    of the batch itself, else by counting: the look-ahead is what is left over once as many batches were pulled between
    two steps as are usual.

    Attributes:
        revised: the batch that the step before really had, once the second step has told; else None.
    """

    def __init__(self) -> None:
        self._queue: deque[Batch] = deque()
        self._ahead: int | None = None
        self._since = 0
        self._ended = False
        self._at_once = False
        self._recognises = False
        self._candidates: list[Batch] = []
        self.revised: Batch | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def busy(self) -> bool:
        """True unless each batch has been consumed before the next was pulled, and none had to be recognised."""
        return bool(self._queue or self._candidates or self._recognises or self._ahead)

    @property
    def undecided(self) -> bool:
        """True after a first step that may have had any of several batches."""
        return bool(self._candidates)

    def push(self, batch: Batch) -> None:
        """The loop took a batch."""
        self._queue.append(batch)
        self._since += 1
        self._ended = False

    def end(self) -> None:
        """The loop came to the end of the loader: what is left is still to be trained on."""
        self._since += 1
        self._ended = True

    def drop(self, source: Any) -> None:
        """The loop over `source` was left: its batches will not be trained on."""
        if any(batch.source is source for batch in self._queue):
            self._queue = deque(batch for batch in self._queue if batch.source is not source)
        self._since = 0

    def holds(self, source: Any) -> bool:
        """True if a batch of this pass is, or may be, still to be consumed."""
        return any(batch.source is source for batch in (*self._queue, *self._candidates[:-1]))

    @property
    def fresh(self) -> bool:
        """True if the loop has pulled on since the last step began, beyond its usual look-ahead."""
        return self._since > 0 and len(self._queue) > (self._ahead or 0)

    def take(self, storages: Callable[[], set[int]] | None = None) -> Batch | None:
        """The batch of a step that begins now, or None if there is no new one.

        Args:
            storages: gives the data pointers of what the model was called with, where the step is seen by a model's
                forward; None where it is only seen by its end (an optimiser step, a logged value).
        """
        self.revised = None
        if self._candidates:
            self._decide()
        if self._queue:
            self._drop_left_over()
        queue = self._queue
        if not queue:
            return None
        position = self._recognised(storages)
        if position is None:
            if self._recognises and not self._since:
                return None  # called with something else, as a generator is: no new batch
            position = self._counted(seen_at_begin=storages is not None)
        for _ in range(position):
            queue.popleft()  # skipped by the loop
        self._since = 0
        return queue.popleft()

    def _drop_left_over(self) -> None:
        """A loop that looks ahead and was left at its end leaves batches behind, which shows when the next fills up anew."""
        newest = self._queue[-1].source
        if self._ahead and self._since > self._ahead and self._queue[0].source is not newest:
            self._queue = deque(batch for batch in self._queue if batch.source is newest)

    def _recognised(self, storages: Callable[[], set[int]] | None) -> int | None:
        if storages is None or (len(self._queue) == 1 and not self._recognises):
            return None
        pointers = storages()
        for position, batch in enumerate(self._queue):
            if batch.is_made_of(pointers):
                self._recognises = True
                if self._since and not self._ended:
                    self._ahead = len(self._queue) - 1 - position
                return position
        return None

    def _counted(self, *, seen_at_begin: bool) -> int:
        left = len(self._queue)
        if not self._since and seen_at_begin:
            self._at_once = True  # several were pulled, each has a forward of its own
        if self._at_once or self._ended or not self._since:
            return 0
        if self._ahead is None:
            self._ahead = left - 1 if seen_at_begin else 0
            if not seen_at_begin and left > 1:
                self._candidates = list(self._queue)
        else:
            self._ahead = min(self._ahead, left - 1)
        return left - 1 - self._ahead

    def _decide(self) -> None:
        """After the second step: pulls between the two tell look-ahead from accumulation."""
        candidates, self._candidates = self._candidates, []
        ahead = len(candidates) - self._since
        if 0 < ahead < len(candidates):
            self._ahead = ahead
            self.revised = candidates[-1 - ahead]
            self._queue.extendleft(reversed(candidates[-ahead:]))
