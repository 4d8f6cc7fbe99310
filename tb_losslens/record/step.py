"""Assembles rows: decides when a batch of training begins and ends, and what belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from torch import Tensor

from tb_losslens.record.batch import Batch, Targets
from tb_losslens.record.epochs import Epochs
from tb_losslens.record.feed import Feed
from tb_losslens.record.loader import Pass
from tb_losslens.record.loss_tag import LossTag
from tb_losslens.record.outbox import Outbox, Sent
from tb_losslens.record.row import Row
from tb_losslens.record.step_number import StepNumber

MOST_HELD = 64
"""Rows that wait at most for the tag of the loss to be found."""


class Steps:
    """The row of the batch that is being trained on, and the epoch that it is in.

    While a wrapped loader is iterated there is one row for each batch that a step consumes. Without one, a row
    begins with the first call of the model or criterion after a backward or an optimiser step, or with each logged value.

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
        tag: str | None,
        first_step: int,
        lr: Callable[[], dict[str, float]],
        warn: Callable[[str], None],
        begins: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._begins = begins
        self._lr = lr
        self._warn = warn
        self._feed = Feed()
        self.epochs = Epochs(outbox)
        self.tag = LossTag(tag)
        self.numbers = StepNumber(first_step)
        self.current: Row | None = None
        self.lead: Pass | None = None
        self.sources: dict[str, int] = {}
        self._held: list[Row] = []
        self._holding = tag is None
        self._plain = 0
        self._explicit = False
        self._by_loader = False
        self._inside_step = 0

    # --- the loader -------------------------------------------------------------------------------------------------

    @property
    def driven(self) -> bool:
        """True while a wrapped training loader is being iterated."""
        return self.lead is not None and not self.lead.dropped and not self.lead.exhausted

    def pulled(self, source: Pass, batch: Batch) -> None:
        """The loop took a batch of the training data."""
        self._by_loader = True
        if not self.driven:
            self.lead = source
        if source is self.lead:
            self._feed.push(batch)

    def exhausted(self, source: Pass) -> None:
        """The loop came to the end of the loader."""
        if source is self.lead:
            self._feed.end()
            self._end_pass(source)

    def dropped(self, source: Pass) -> None:
        """The loop let go of the iterator, at its end or before."""
        if not source.exhausted:
            self._feed.drop(source)
            self._end_pass(source)
        if source is self.lead:
            self.lead = None

    def _end_pass(self, source: Pass) -> None:
        if source is self.epochs.source and not self._feed.holds(source):
            self.finish()
            self.epochs.end(complete=source.exhausted)

    def pause(self) -> None:
        """Something else begins, a validation for example: the row and the pass that are through are ended."""
        row = self.current
        if row is not None and self.driven:  # a scalar of this batch may still come, from after the validation
            self.release(row)
            return
        self.finish()
        source = self.epochs.source
        if self.epochs.open and source is not None and source.exhausted and not self._feed.holds(source):
            self.epochs.end(complete=True)

    def close(self) -> None:
        """The recording ends."""
        self.finish()
        only = self.tag.only() if self.tag.undecided else None
        if only is not None and len(self._held) == 1:
            self._use_scalar(self._held[0], only)
        self.let_go()
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
        if row is None or (not self._inside_step and not row.forwarded and (self._is_over(row) or self._feed.fresh)):
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
        over = row is None or (optimizer in row.stepped and not row.forwarded and not row.pending)
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
        if (
            row is not None
            and not self._inside_step
            and not self._holding
            and not self._explicit
            and (row.losses or row.pending)
        ):
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
            if not known and self.tag.tag is None:
                return
            if self.driven and not len(self._feed):
                return
            row = self._next(None)
        if row is None:
            return
        row.scalars[tag] = (value, step)
        row.written[tag] = row.written.get(tag, 0) + 1
        if tag == self.tag.tag:
            self._use_scalar(row, tag)
            if not row.released:
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
        if row is None:
            return
        if not row.released:
            self.release(row)
        elif row.held and row not in self._held:
            self._unhold(row)
        if self.tag.row(row.epoch, row.written):
            self._decided()
            if self.tag.tag in row.scalars and not row.scalar_used:
                self._use_scalar(row, str(self.tag.tag))
        elif self._holding:
            # with a loss of its own and no scalar to wait for, two rows are enough to know
            self._plain = self._plain + 1 if row.losses and not row.scalars else 0
            if self._plain >= 2 or len(self._held) >= MOST_HELD:
                self.let_go()

    def release(self, row: Row) -> None:
        """Hands a row over; what comes later is amended. It stays back while it may have had another batch."""
        if row.released or (self._feed.undecided and row is self.current):
            return
        row.released = True
        values = row.values
        values["time"] = time.time()
        if row.epoch >= 0:
            values["epoch"], values["index"] = row.epoch, row.index
            self.epochs.say_begin()
        if row.batch is not None:
            self._take_batch(row, row.batch)
        self.epochs.digest(row.ids)
        if "lr" not in values:
            values.update(self._lr())
        if "loss" in values or "loss" in row.later.names:
            self._count("log_batch")
        else:
            self._take_criterion(row)
        row.held = self._holding and not row.logged and (bool(row.scalars) or not row.losses)
        if row.held:
            self._held.append(row)
        elif row is self.current and self.tag.tag is not None and "loss" not in values and not row.later.names:
            row.held = True  # its scalar is still to come
        self._outbox.put(row)

    def _take_batch(self, row: Row, batch: Batch) -> None:
        values = row.values
        values.setdefault("batch_size", batch.size)
        values["data_wait"] = batch.wait
        if row.ids is None:
            row.ids = batch.ids
        if row.classes is None and "target_mean" not in values:
            take_targets(row, batch.targets)

    def _take_criterion(self, row: Row) -> None:
        loss = row.criterion_loss()
        if loss is None:
            return
        self._count("criterion")
        if isinstance(loss, Tensor):
            row.later.add("loss", loss)
        else:
            row.values["loss"] = loss

    def _use_scalar(self, row: Row, tag: str) -> None:
        value, step = row.scalars[tag]
        row.scalar_used = True
        values: dict[str, float] = {}
        if "loss" in row.values or "loss" in row.later.names or row.losses or row.pending:
            values["logged_loss"] = value
        else:
            values["loss"] = value
            self._count(f"scalar:{tag}")
        if step is not None and row.user_step is None:
            self.set_step(row, step)
        if row.released:
            self._outbox.amend(row, values)
            if row.held and row not in self._held:
                self._unhold(row)
        else:
            row.values.update(values)

    def set_step(self, row: Row, step: int) -> None:
        """The user's own step of a row."""
        row.user_step = step
        if row.stored:
            corrected = self.numbers.correct(step)
            if corrected is not None:
                self._outbox.amend(row, {"step": corrected})

    def before_stored(self, row: Sent) -> None:
        """Gives a row its step, in the order in which rows are stored."""
        row.values["step"] = self.numbers.of(row.user_step if isinstance(row, Row) else None)

    # --- the tag of the loss ----------------------------------------------------------------------------------------

    def _decided(self) -> None:
        if self.tag.ambiguous:
            names = ", ".join(repr(tag) for tag in self.tag.ambiguous)
            self._warn(
                f"{len(self.tag.ambiguous)} scalars may be the loss of a batch ({names}): none is taken. Say which: LossLensWriter(..., loss_tag=...)"
            )
        elif self.tag.tag is not None:
            for row in self._held:
                if self.tag.tag in row.scalars:
                    self._use_scalar(row, self.tag.tag)
        self.let_go()

    def let_go(self) -> None:
        """Stops waiting for the tag of the loss: what is held is stored."""
        self._holding = False
        for row in self._held:
            row.held = False
        self._held = []
        self._outbox.drain()

    def _unhold(self, row: Row) -> None:
        row.held = False
        self._outbox.drain()

    def _count(self, source: str) -> None:
        self.sources[source] = self.sources.get(source, 0) + 1


def take_targets(row: Row, targets: Targets) -> None:
    """Puts the class counts or moments of targets into a row."""
    row.classes = targets.classes
    row.values.update(targets.columns)
