"""Decides when a validation begins and ends, and whose value it gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tb_losslens.record import mid_step
from tb_losslens.record.batch import Batch
from tb_losslens.record.loss_tag import is_held_out, is_loss
from tb_losslens.record.outbox import Outbox
from tb_losslens.record.passes import Pass
from tb_losslens.record.step import Steps
from tb_losslens.record.validation import Validation


class Validations:
    """The validation that is open, or that has ended and whose value may still come.

    One is opened by a loop over a loader wrapped with split="val", by `validation()`, or by a call of the model without
    gradients outside the training loop; inside the loop, by one in evaluation mode on other data than the batch's, whose loss
    is measured. Its record is written when training goes on. One that nobody announced is marked `implicit`: without a loss
    that is computed or logged it was none, but a look at samples, a labelling or an estimate of statistics.

    Args:
        outbox: where records go.
        steps: the training around it.
        counter: gives the updates of running statistics so far.

    Attributes:
        current: the validation, or None.
        tag: the user's scalar of its loss, once one was seen.
        tell: called with "validation_begins" before one begins and "validation_ends" when its loop has ended, and its epoch;
            gives further fields of the record.
    """

    def __init__(self, outbox: Outbox, steps: Steps, counter: Callable[[], float]) -> None:
        self._outbox = outbox
        self._steps = steps
        self._counter = counter
        self._pass: Pass | None = None
        self._inside = 0
        self._suspect: tuple[float, dict[str, Any], int] | None = None
        self.current: Validation | None = None
        self.tag: str | None = None
        self.tell: Callable[[str, int], dict[str, Any]] = lambda _moment, _epoch: {}

    @property
    def open(self) -> bool:
        """True while forwards and losses are those of a validation."""
        return self.current is not None and not self.current.over

    @property
    def said(self) -> bool:
        """True while a validation is open that a loader or the user announced."""
        return self.current is not None and not self.current.over and not self.current.implicit

    # --- begin and end ----------------------------------------------------------------------------------------------

    def announce(self) -> Validation:
        """Opens a validation that a loader or the user announces: what was called before it is not of it."""
        if self.open and not self.said:
            self.end()
        return self._begin(implicit=False)

    def _begin(self, *, implicit: bool) -> Validation:
        """Opens a validation, unless one is open."""
        if self.current is not None and not self.current.over:
            return self.current
        self.end()
        self._steps.pause()
        more = self.tell("validation_begins", self._steps.epochs.number)
        self.current = Validation(self._steps.epochs.number, self._counter())
        self.current.implicit = implicit
        self._outbox.record("validation_begin", fields={"epoch": self.current.epoch, **more})
        return self.current

    def end(self) -> None:
        """Records the end of the last validation: its value will not come any more."""
        validation, self.current = self.current, None
        if validation is not None:
            self._finish(validation)
            fields = validation.fields()
            self._outbox.record("validation_end", step=validation.step, fields=fields, when=validation.ended)

    def settle(self) -> None:
        """Training goes on: a validation that is over is recorded."""
        if self.current is not None and self.current.over:
            self.end()

    def enter(self) -> None:
        """A `validation()` block begins."""
        self._inside += 1
        self.announce()

    def leave(self) -> None:
        """A `validation()` block was left."""
        self._inside = max(0, self._inside - 1)
        self._over()

    def _over(self) -> None:
        if self.current is not None and not self._inside and self._pass is None:
            self._finish(self.current)

    def _finish(self, validation: Validation) -> None:
        if not validation.over:
            validation.finish(self._counter)
            validation.more = self.tell("validation_ends", validation.epoch)

    # --- loaders ----------------------------------------------------------------------------------------------------

    def pulled(self, source: Pass, batch: Batch) -> None:
        """A loop over held-out data took a batch."""
        if self._pass is None:
            self._pass = source
            self.announce()
        if self._pass is source and self.current is not None:
            self.current.batches += 1
            self.current.samples += max(batch.size, 0)

    def left(self, source: Pass) -> None:
        """A loop over held-out data came to its end, or was left."""
        if source is self._pass:
            self._pass = None
            self._over()

    def training(self) -> None:
        """A loop took a batch of the training data."""
        if self.current is not None and self._pass is None and not self._inside:
            self.end()

    # --- what is seen in it -----------------------------------------------------------------------------------------

    def of_call(self, *, gradients: bool, mode: float | None = None) -> Validation | None:
        """The validation that a call of the model (in this `mode`) or criterion belongs to now, or None.

        A call without gradients outside the training loop begins one, which a call with gradients ends.
        """
        current = self.current
        if current is not None and current.implicit and (gradients or (mode is not None and not current.goes_on(mode))):
            self.end()
        if self.open:
            return self.current
        if gradients or self._steps.in_loop:
            return None
        return self._begin(implicit=True)

    def suspect(self, mode: float, moments: dict[str, Any], size: int) -> None:
        """The model was called inside the training loop as in a validation; a call of the criterion makes it one."""
        self._suspect = (mode, moments, size)

    def forget(self) -> None:
        """The model is called again: a loss that comes now is of that call."""
        self._suspect = None

    def of_loss(self, *, gradients: bool) -> Validation | None:
        """As `of_call`, for a call of the criterion: it makes a call of the model that was suspected a validation."""
        validation = self.of_call(gradients=gradients)
        suspected, self._suspect = self._suspect, None
        if validation is None and suspected is not None and not gradients:
            validation = self._begin(implicit=True)
            validation.forward(*suspected)
        return validation

    # --- its value --------------------------------------------------------------------------------------------------

    def may_be(self, tag: str) -> bool:
        """True if the user's scalar of this name is the loss on held-out data."""
        return tag == self.tag if self.tag is not None else is_loss(tag) and is_held_out(tag)

    def set(self, value: float, source: str, *, step: int | None = None, epoch: int | None = None) -> None:
        """Takes the user's own value: of the validation that is open or has just ended, else of one that nobody saw."""
        self._that_or_new().set(value, source, step=step, epoch=epoch)

    def log(
        self,
        value: float,
        *,
        step: int | None,
        epoch: int | None,
        losses: Sequence[float] | None,
        sizes: Sequence[float] | None,
    ) -> None:
        """Takes what `log_validation` was told."""
        if self.current is not None and self.current.over and self.current.source == "log_validation":
            self.end()  # the one before has its value
        self.set(value, "log_validation", step=step, epoch=epoch)
        if losses is not None and self.current is not None:
            self.current.details(losses, sizes)

    def _that_or_new(self) -> Validation:
        if self.current is None:
            mid_step.pause(self._steps)
            self.current = Validation(self._steps.epochs.number)
            self.current.finish(lambda: -1.0)
        return self.current
