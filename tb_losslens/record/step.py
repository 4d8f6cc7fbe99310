"""Assembles rows: decides when a batch of training begins and ends, and what belongs to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from torch import Tensor
from torch.optim import Optimizer

from tb_losslens.record.bare_scalars import BareScalars
from tb_losslens.record.batch import Batch
from tb_losslens.record.cadence import DEEP, UNUSUAL
from tb_losslens.record.cadences import Cadences
from tb_losslens.record.epochs import Epochs
from tb_losslens.record.evaluations import Evaluations
from tb_losslens.record.feed import Feed
from tb_losslens.record.lead import Lead
from tb_losslens.record.loss_search import LossSearch
from tb_losslens.record.outbox import Outbox, Sent
from tb_losslens.record.passes import Pass
from tb_losslens.record.row import Row
from tb_losslens.record.step_number import StepNumber
from tb_losslens.record.unusual import Unusual


class Steps:
    """The row of the batch that is being trained on, and the epoch that it is in.

    Once a training loader is wrapped there is one row for each batch that a step consumes, and for each `log_batch`. Without
    one, a row begins with the first call of the model or criterion after a backward or an optimiser step, or with a
    logged value; where nothing but scalars is told, with the step or the scalar of a batch once `bare` has found it.

    Args:
        outbox: where finished rows go.
        tag: the user's `loss_tag`, or None.
        first_step: step of the first row where the user gives none.
        lr: gives the learning rates by column name, for rows without an optimiser step of their own.
        warn: called with a sentence.
        begins: called when a row begins, before it belongs to an epoch.
        cadence: decides which rows are dense.
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
        cadence: Cadences,
    ) -> None:
        self._outbox = outbox
        self._begins = begins
        self.cadence = cadence
        self.unusual = Unusual()
        self._lr = lr
        self._feed = Feed()
        self._lead = Lead(self._feed, self._moved)
        self.numbers = StepNumber(first_step)
        self._explicit = False
        self._by_loader = False
        self._inside: list[int] = []  # the optimisers whose step is on
        self.bare = BareScalars()
        self.evaluations = Evaluations()
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
        self._inside.clear()  # one that raised has no end
        self._lead.pulled(source, batch)

    def density(self, source: Pass, index: int) -> int:
        """How much is read of the next batch, at this position in its pass, see `Cadences`; to be asked once a batch."""
        return self.cadence.next(index, int(source.loader.get("batches") or self.epochs.length))

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
        if row is None or (not self._inside and (self._is_over(row) or (row.forwarded and self._feed.fresh))):
            row = self._next(storages)
        if row is not None:
            row.forwarded = True
            if row.writes is None:
                row.writes = self.evaluations.writes()
        return row

    def criterion(self, value: float | Tensor, samples: int) -> Row | None:
        """The criterion is called with gradients; None if that is not for a batch of training."""
        row = self.current
        if row is None:
            row = self._next(None)
        elif not self._inside:
            over, fresh = self._is_over(row), self._feed.fresh
            if (over and fresh) or (not row.forwarded and (over or fresh)):
                row = self._next(None)
        if row is not None and (not row.stepped or self._inside):
            if not self.evaluations.is_aside(row):
                row.pending.append((value, samples))
        elif row is not None:
            row.again.append(value)
        return row

    def _is_over(self, row: Row) -> bool:
        """True if what a step begins with can no longer belong to `row`.

        Where no loader is the measure and `log_batch` is called, a row goes on to that call, or to a step if those are seen.
        """
        told = self._explicit and self.evaluations.steps and not self._by_loader
        over = (row.backward and not told) or bool(row.stepped) or row.logged
        return over and (self._by_loader or not self.evaluations.goes_on(row))

    def is_inside(self, optimizers: Iterable[Optimizer]) -> bool:
        """True while the step of one of these is on."""
        return any(id(optimizer) in self._inside for optimizer in optimizers)

    def is_unusual(self, row: Row, loss: float) -> bool:
        """True if a sparse row becomes dense because its loss is far from the ones before."""
        if not self.unusual.add(loss) or row.dense or not self.cadence.unusual():
            return False
        row.dense = UNUSUAL
        row.values["dense"] = UNUSUAL
        return True

    def backward(self, *, returns: bool = False) -> Row | None:
        """A backward begins; one that `returns` its gradients, as the inner step of a meta-learner, comes before the step."""
        row = self.current
        if row is not None:
            row.backward |= self._by_loader or not (returns and self.evaluations.expects_step())
            row.close_backward()
            more = row.close_again()
            if more is not None:
                name, value = more
                if isinstance(value, Tensor):
                    row.later.add(name, value)
                else:
                    self._outbox.amend(row, {name: value})
        return row

    def step_begins(self, optimizer: int, *, named: bool) -> Row | None:
        """An optimiser is about to change the weights; None while nothing tells that this is the training."""
        if optimizer in self._inside:
            self._inside.clear()  # its last step raised
        row = self.current
        again = row is not None and optimizer in row.stepped and not row.pending
        # with a closure the forward comes inside the step, which then begins the row
        over = row is None or (again and (not row.forwarded or self._feed.fresh or not self._by_loader))
        if over and not self._inside and (named or self.bare.found or self.driven or len(self._feed) or self.epochs.open):
            row = self._next(None)
        self._inside.append(optimizer)
        self.evaluations.stepped()
        if row is not None:
            row.stepped.add(optimizer)
        else:
            self.epochs.steps_outside += 1
        return row

    def step_ends(self) -> None:
        """The optimiser has changed the weights."""
        if self._inside:
            self._inside.pop()
        row = self.current
        early = not self._inside and not self.loss.holding and not self._explicit
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
        elif begins and epoch is not None:
            self._into(row, epoch)
        elif epoch is not None:
            self.epochs.told = True
        row.logged = True
        return row

    def _into(self, row: Row, epoch: int) -> None:
        """The row that is on is of this epoch, and not of the one that seemed to be on: it is the first of it.

        A count of passes is another number than the user's and says nothing: its epoch is then that of the pass.
        """
        epochs = self.epochs
        if row.released:
            return
        if row.index < 0:
            epochs.announced = epoch
            row.epoch, row.index = epochs.enter(None, begins=True, late=row.forwarded or bool(row.stepped))
        elif row.index == 0 and epochs.rename(epoch):
            row.epoch = epochs.number
        elif epochs.told and row.index == epochs.rows - 1 and row.epoch == epochs.number:
            row.epoch, row.index = epochs.move(row.batch, epoch)

    def withdraw(self, before: Row | None) -> None:
        """`log_batch` was interrupted: the row that it began after `before` is none, if nothing else is known of it."""
        row = self.current
        if row is not None and row is not before and not row.released and row.batch is None and not row.forwarded:
            self.current = None
            self.epochs.rows -= row.index >= 0

    def scalar(self, tag: str, value: float, step: int | None) -> None:
        """The user wrote a scalar that is, or may be, the loss of a batch."""
        row = self.current
        if row is None or (tag in row.scalars and (len(self._feed) or not self.driven)):
            known = self.driven or len(self._feed) or self.epochs.open or self.epochs.announced is not None
            if not known and self.loss.tag is None and not self.bare.found:
                self._bare(tag, value, step)
                return
            if self.driven and not len(self._feed):
                return
            row = self._next(None)
        if row is not None and self.loss.written(row, tag, value, step) and not row.released:
            self.release(row)

    def _bare(self, tag: str, value: float, step: int | None) -> None:
        """A scalar of a loop of which nothing is known: once it turns out to be that of a batch, each so far is a row."""
        if self._by_loader:
            return
        for scalars in self.bare.write(tag, value, step) or ():
            row = self._new(None, begins=False)
            if self.bare.after_step:
                row.stepped |= self.bare.optimizers
            for name, (number, at) in scalars.items():
                self.loss.written(row, name, number, at)

    # --- the short way ----------------------------------------------------------------------------------------------

    def steady(self, source: Pass) -> bool:
        """True if the loop over `source` is a plain one: each batch is trained on at once, and no loss is waited for."""
        row, epochs = self.current, self.epochs
        usual = row is not None and epochs.open and row.epoch == epochs.number and source is epochs.source
        return usual and not (self._inside or self._explicit or self.loss.holding or self._feed.busy or self._lead.several)

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
        dense = batch.dense if batch is not None else None
        if dense is None:
            dense = self.cadence.next(index, self.epochs.length)
        deep, dense = bool(dense & DEEP), dense & ~DEEP
        values: dict[str, float] = {"dense": dense, "cadence": self.cadence.every}
        self.current = Row(values, batch=batch, epoch=epoch, index=index, dense=dense, deep=deep)
        return self.current

    def finish(self) -> None:
        """No more of the current row will come."""
        row = self.current
        if row is not None:
            self._release(row)
            self.loss.finish(row)
            self.current = None  # last: an interrupt may come at any point, and the next call goes on from there

    def release(self, row: Row) -> None:
        """Hands a row over; what comes later is amended. It stays back while it may have had another batch."""
        if not (row is self.current and (self._feed.undecided or self._lead.undecided)):
            self._release(row)

    def _release(self, row: Row) -> None:
        if row.released:
            return
        values = row.values
        values["time"] = time.time()
        if row.epoch >= 0:
            values["epoch"], values["index"] = row.epoch, row.index
            self.epochs.say_begin()
        if row.batch is not None:
            row.take_batch(row.batch)
        if "lr" not in values:
            values.update(self._lr())
        self.loss.settle(row)
        ids = row.ids
        self._outbox.put(row)
        row.released = True
        self.epochs.digest(ids)

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
