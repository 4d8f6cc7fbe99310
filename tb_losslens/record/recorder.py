"""Joins what hooks, loaders and the user's own calls tell into rows, epochs, validations and facts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tb_losslens.record.batch import Batch
from tb_losslens.record.boundary_jump import BoundaryJump
from tb_losslens.record.guard import Guard
from tb_losslens.record.loader import Pass
from tb_losslens.record.outbox import Outbox, Sent
from tb_losslens.record.session import Session
from tb_losslens.record.step import Steps
from tb_losslens.record.validation import Validation, is_validation_loss


class Recorder:
    """One recording session of a training.

    Args:
        session: where it is kept.
        guard: for warnings.
        loss_tag: the user's tag of the training loss, or None to find it.
        first_step: step of the first row where the user gives none.
        lr: gives the learning rates by column name.
        jump: called with the size of each boundary's jump and its step.
    """

    def __init__(
        self,
        session: Session,
        guard: Guard,
        *,
        loss_tag: str | None,
        first_step: int,
        lr: Callable[[], dict[str, float]],
        jump: Callable[[float, int], None],
    ) -> None:
        self.session = session
        self.guard = guard
        self.outbox = Outbox(session, self._before_stored, self._after_stored)
        self.steps = Steps(self.outbox, loss_tag, first_step, lr, guard.warn, self._row_begins)
        self.validation: Validation | None = None
        self.counter: Callable[[], float] = lambda: -1.0
        self.on_epoch: list[Callable[[], None]] = []
        self._jump = BoundaryJump(jump)
        self._facts: dict[str, Any] = {}
        self._pass: Pass | None = None
        self._validation_tag: str | None = None
        self._inside = 0
        self._sources: dict[str, int] = {}

    # --- loader (Listener) ------------------------------------------------------------------------------------------

    def pulled(self, source: Pass, batch: Batch) -> None:
        """The loop took a batch."""
        if source.split == "train":
            if self.validation is not None and self._pass is None and not self._inside:
                self.end_validation()  # a new batch of training: its value will not come any more
            if not source.pulled - 1:
                self._loader_facts(source)
            self.steps.pulled(source, batch)
            return
        if self._pass is not source:
            self._pass = source
            self.begin_validation()
        if self.validation is not None:
            self.validation.batches += 1
            self.validation.samples += max(batch.size, 0)

    def exhausted(self, source: Pass) -> None:
        """The loop came to the end of the loader."""
        if source.split == "train":
            self.steps.exhausted(source)
        elif source is self._pass:
            self._pass = None
            self._validation_over()

    def dropped(self, source: Pass) -> None:
        """The loop let go of the iterator."""
        if source.split == "train":
            self.steps.dropped(source)
        elif source is self._pass:
            self._pass = None
            self._validation_over()

    def _loader_facts(self, source: Pass) -> None:
        loader = source.loader
        known = {
            "batches_per_epoch": loader.get("batches"),
            "dataset_size": loader.get("dataset_size"),
            "shuffle": loader.get("shuffle"),
        }
        self.facts({**{key: value for key, value in known.items() if value is not None}, "loader": loader})

    # --- validation -------------------------------------------------------------------------------------------------

    @property
    def validating(self) -> bool:
        """True while a validation is open: forwards and losses are not of the training."""
        return self.validation is not None and not self.validation.over

    def begin_validation(self, *, explicit: bool = False) -> Validation:
        """Opens a validation, unless one is open."""
        if explicit:
            self._inside += 1
        if self.validation is not None and not self.validation.over:
            return self.validation
        self.end_validation()
        self.steps.pause()
        self.validation = Validation(self.steps.epochs.number, self.counter())
        fields = {"epoch": self.validation.epoch}
        self.outbox.record("validation_begin", fields=fields)
        return self.validation

    def leave_validation(self) -> None:
        """The `validation()` block was left."""
        self._inside = max(0, self._inside - 1)
        self._validation_over()

    def _validation_over(self) -> None:
        if self.validation is not None and not self._inside and self._pass is None:
            self.validation.over = True

    def end_validation(self) -> None:
        """Records the end of the last validation; its value will not come any more."""
        validation, self.validation = self.validation, None
        if validation is not None:
            fields = validation.fields()
            self.outbox.record("validation_end", step=validation.step, fields=fields)

    def validation_value(self, value: float, source: str, *, step: int | None = None, epoch: int | None = None) -> Validation:
        """The user's own value: of the validation that is open or has just ended, else of one that nobody saw."""
        validation = self.validation
        if validation is None:
            self.steps.pause()
            validation = self.validation = Validation(self.steps.epochs.number)
            validation.over = True
        validation.set(value, source)
        if step is not None:
            validation.step = step
        if epoch is not None:
            validation.epoch = epoch
        return validation

    # --- scalars ----------------------------------------------------------------------------------------------------

    def scalar(self, tag: str, value: Any, step: Any) -> None:
        """The user wrote a scalar."""
        if self.steps.tag.may_be(tag):
            if not self.validating and (number := _number(value)) is not None:
                self.steps.scalar(tag, number, None if step is None else int(step))
        elif is_validation_loss(tag) and self._validation_tag in (None, tag):
            number = _number(value)
            if number is None:
                return
            self._validation_tag = tag
            self.validation_value(number, f"scalar:{tag}")

    # --- rows -------------------------------------------------------------------------------------------------------

    def _row_begins(self) -> None:
        if self.validation is not None and self.validation.over:
            self.end_validation()

    def _before_stored(self, row: Sent) -> None:
        self.steps.before_stored(row)

    def _after_stored(self, row: Sent) -> None:
        values = row.values
        self._jump.add(values.get("loss", math.nan), int(values.get("epoch", -1)), int(values["step"]))

    # --- the user's own calls ---------------------------------------------------------------------------------------

    def start_epoch(self, epoch: int) -> None:
        """The next row begins this epoch."""
        self.steps.finish()
        self.steps.epochs.announce(epoch)

    def end_epoch(self) -> None:
        """The epoch is over."""
        self.steps.finish()
        self.steps.epochs.end(complete=None if self.steps.epochs.source is not None else True)

    def log_validation(self, value: float, step: int | None, epoch: int | None, losses: Any, sizes: Any) -> None:
        """The user's own value of a validation."""
        validation = self.validation_value(value, "log_validation", step=step, epoch=epoch)
        validation.details(losses, sizes)

    def note(self, kind: str, text: str, fields: Mapping[str, Any]) -> None:
        """Something happened."""
        self.steps.pause()
        self.outbox.record(kind, text=text, fields=fields)

    def source_number(self, name: str) -> int:
        """Number of a data source that has a name; the names are facts."""
        if name not in self._sources:
            self._sources[name] = len(self._sources)
            self.facts({"sources": dict(self._sources)})
        return self._sources[name]

    # --- facts and the end ------------------------------------------------------------------------------------------

    @property
    def known(self) -> Mapping[str, Any]:
        """All facts so far."""
        return self._facts

    def loss_facts(self) -> dict[str, Any]:
        """Where the loss of the rows came from: the source of most of them."""
        sources = self.steps.sources
        return {"loss_source": max(sources, key=lambda name: sources[name])} if sources else {}

    def facts(self, fields: Mapping[str, Any]) -> None:
        """Records facts of the run that are new or have changed."""
        new = {key: value for key, value in fields.items() if key not in self._facts or self._facts[key] != value}
        if new:
            self._facts.update(new)
            self.outbox.record("facts", fields=new)

    def flush(self, *, wait: bool = False) -> None:
        """Brings everything that is complete to disk; with `wait` everything."""
        row = self.steps.current
        if row is not None and (row.stepped or row.logged):
            self.steps.release(row)
        self._row_begins()
        self.outbox.drain(wait=wait)
        self.session.flush()

    def close(self) -> None:
        """Ends the recording."""
        self.steps.pause()
        self.steps.close()
        self.end_validation()
        self.outbox.drain(wait=True)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return None  # torch takes the name of a Caffe2 blob
    if isinstance(value, Tensor):
        return float(value.detach()) if value.numel() == 1 else None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
