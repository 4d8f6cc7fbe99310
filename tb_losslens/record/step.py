"""Assembles rows: decides when a batch of training begins and ends, and what belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor

from tb_losslens.record.batch import Batch
from tb_losslens.record.epochs import Epochs
from tb_losslens.record.feed import Feed
from tb_losslens.record.lead import Lead
from tb_losslens.record.loader import Pass
from tb_losslens.record.loss_search import LossSearch
from tb_losslens.record.outbox import Outbox, Sent
from tb_losslens.record.row import Row
from tb_losslens.record.step_number import StepNumber


class Steps:
    """The row of the batch that is being trained on, and the epoch that it is in.

    Once a training loader is wrapped there is one row for each batch that a step consumes, and for each `log_batch`. Without
    one, a row begins with the first call of the model or criterion after a backward or an optimiser step, or with a
    logged value.

    Args:
        outbox: where finished rows go.
        tag: the user's `loss_tag`, or None.
        first_step: step of the first row where the user gives none.
        lr: gives the learning rates by column name, for rows without an optimiser step of their own.
        warn: called with a sentence.
        begins: called when a row begins, before it belongs to an epoch.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        tag: str | None,
        first_step: int,
        lr: Callable[[], dict[str, float]],
        warn: Callable[[str], None],
        begins: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._begins = begins
        self._lr = lr
        self._feed = Feed()
        self._lead = Lead(self._feed, self._moved)
        self._numbers = StepNumber(first_step)
        self._explicit = False
        self._by_loader = False
        self._inside_step = 0
        self.epochs = Epochs(outbox)
        self.loss = LossSearch(outbox, tag, self.set_step, warn)
        self.current: Row | None = None

    # --- the loader -------------------------------------------------------------------------------------------------

    @property
    def driven(self) -> bool:
        """True while a wrapped training loader is being iterated."""
        return self._lead.running

    def pulled(self, source: Pass, batch: Batch) -> None:
        """The loop took a batch of the training data."""
        self._by_loader = True
        self._lead.pulled(source, batch)

    def exhausted(self, source: Pass) -> None:
        """The loop came to the end of the loader."""
        if source is self._lead.source:
            self._feed.end()
            self._end_pass(source)

    def dropped(self, source: Pass) -> None:
        """The loop let go of the iterator, at its end or before."""
        if not source.exhausted:
            self._feed.drop(source)
            self._end_pass(source)
        self._lead.dropped(source)

    def _end_pass(self, source: Pass) -> None:
        if source is self.epochs.source and not self._feed.holds(source):
            self.finish()
            self.epochs.end(complete=source.exhausted)

    def _moved(self, batch: Batch) -> None:
        """The first row of an inner loop had been taken for one of the outer loop."""
        row = self.current
        if row is not None and not row.released and row.index == 0:
            row.batch = batch
            self.epochs.adopt(batch.source)

    @property
    def in_loop(self) -> bool:
        """True where a call of the model belongs to the training loop, whether it is a step or not."""
        row = self.current
        return self.driven or (self._draining and (len(self._feed) > 0 or (row is not None and not self._is_over(row))))

    @property
    def _draining(self) -> bool:
        """True while a loop that looks ahead trains on what is left of an exhausted loader."""
        source = self.epochs.source
        return self.epochs.open and source is not None and source.exhausted

    def pause(self) -> None:
        """Something else begins, a validation for example: the row is through, and the epoch if it is none of a loader."""
        row = self.current
        if self.driven or self._draining:  # a scalar of this batch may still come, from after the validation
            if row is not None:
                self.release(row)
        else:
            self.finish()

    def close(self) -> None:
        """The recording ends."""
        self.finish()
        self.loss.close()
        self.epochs.end(complete=None)

    # --- what happens in a step -------------------------------------------------------------------------------------

    def forward(self, storages: Callable[[], set[int]]) -> Row | None:
        """The watched model is called with gradients; None if that is not for a batch of training."""
        row = self.current
        if row is None or (not self._inside_step and (self._is_over(row) or (row.forwarded and self._feed.fresh))):
            row = self._next(storages)
        if row is not None:
            row.forwarded = True
        return row

    def criterion(self, value: float | Tensor, samples: int) -> Row | None:
        """The criterion is called with gradients; None if that is not for a batch of training."""
        row = self.current
        if row is None:
            row = self._next(None)
        elif not self._inside_step:
            over, fresh = self._is_over(row), self._feed.fresh
            if (over and fresh) or (not row.forwarded and (over or fresh)):
                row = self._next(None)
        if row is not None and (not row.stepped or self._inside_step):
            row.pending.append((value, samples))
        return row

    @staticmethod
    def _is_over(row: Row) -> bool:
        """True if what a step begins with can no longer belong to `row`."""
        return row.backward or bool(row.stepped) or row.logged

    def backward(self) -> Row | None:
        """A backward begins."""
        row = self.current
        if row is not None:
            row.backward = True
            row.close_backward()
        return row

    def step_begins(self, optimizer: int, *, named: bool) -> Row | None:
        """An optimiser is about to change the weights; None while nothing tells that this is the training."""
        row = self.current
        again = row is not None and optimizer in row.stepped and not row.pending
        # with a closure the forward comes inside the step, which then begins the row
        over = row is None or (again and (not row.forwarded or self._feed.fresh or not self._by_loader))
        if over and not self._inside_step and (named or self.driven or len(self._feed) or self.epochs.open):
            row = self._next(None)
        self._inside_step += 1
        if row is not None:
            row.stepped.add(optimizer)
        return row

    def step_ends(self) -> None:
        """The optimiser has changed the weights."""
        self._inside_step = max(0, self._inside_step - 1)
        row = self.current
        early = not self._inside_step and not self.loss.holding and not self._explicit
        if row is not None and early and (row.losses or row.pending):
            self.release(row)

    def logged(self, epoch: int | None = None) -> Row:
        """`log_batch` is called: the row that it belongs to."""
        self._explicit = True
        row = self.current
        begins = epoch is not None and not (self.epochs.open and self.epochs.number == epoch)
        if row is None or row.logged:
            if begins and epoch is not None:
                self.finish()
                self.epochs.announced = epoch
            row = self._new(self._feed.take(None), begins=begins)
        elif begins and epoch is not None and row.index <= 0 and (row.index < 0 or self.epochs.rename(epoch)):
            if row.index < 0:
                self.epochs.announced = epoch
                row.epoch, row.index = self.epochs.enter(None, begins=True)
            row.epoch = self.epochs.number
        row.logged = True
        return row

    def scalar(self, tag: str, value: float, step: int | None) -> None:
        """The user wrote a scalar that is, or may be, the loss of a batch."""
        row = self.current
        if row is None or (tag in row.scalars and (len(self._feed) or not self.driven)):
            known = self.driven or len(self._feed) or self.epochs.open or self.epochs.announced is not None
            if not known and self.loss.tag is None:
                return
            if self.driven and not len(self._feed):
                return
            row = self._next(None)
        if row is not None and self.loss.written(row, tag, value, step) and not row.released:
            self.release(row)

    # --- rows -------------------------------------------------------------------------------------------------------

    def _next(self, storages: Callable[[], set[int]] | None) -> Row | None:
        """The row of the next batch; the current one, or None, where a loader is the measure and gave no new batch."""
        batch = self._feed.take(storages)
        if batch is None and self._by_loader:
            return self.current
        return self._new(batch, begins=False)

    def _new(self, batch: Batch | None, *, begins: bool) -> Row:
        row = self.current
        if self._feed.revised is not None and row is not None and not row.released:
            row.batch = self._feed.revised
        self.finish()
        self._begins()
        epoch, index = self.epochs.enter(batch, begins=begins)
        self.current = Row({}, batch=batch, epoch=epoch, index=index)
        return self.current

    def finish(self) -> None:
        """No more of the current row will come."""
        row, self.current = self.current, None
        if row is not None:
            self.release(row)
            self.loss.finish(row)

    def release(self, row: Row) -> None:
        """Hands a row over; what comes later is amended. It stays back while it may have had another batch."""
        if row.released or (row is self.current and (self._feed.undecided or self._lead.undecided)):
            return
        row.released = True
        values = row.values
        values["time"] = time.time()
        if row.epoch >= 0:
            values["epoch"], values["index"] = row.epoch, row.index
            self.epochs.say_begin()
        if row.batch is not None:
            row.take_batch(row.batch)
        self.epochs.digest(row.ids)
        if "lr" not in values:
            values.update(self._lr())
        self.loss.settle(row)
        self._outbox.put(row)

    def set_step(self, row: Row, step: int) -> None:
        """The user's own step of a row."""
        row.user_step = step
        if row.stored:
            corrected = self._numbers.correct(step)
            if corrected is not None:
                self._outbox.amend(row, {"step": corrected})

    def before_stored(self, row: Sent) -> None:
        """Gives a row its step, in the order in which rows are stored."""
        row.values["step"] = self._numbers.of(row.user_step if isinstance(row, Row) else None)
