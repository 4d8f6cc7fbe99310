"""Joins what hooks, loaders and the user's own calls tell into rows, epochs, validations and facts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tb_losslens.record import mid_step
from tb_losslens.record.batch import Batch
from tb_losslens.record.boundary_jump import BoundaryJump
from tb_losslens.record.cadences import Cadences
from tb_losslens.record.disk.session import Session
from tb_losslens.record.guard import Guard
from tb_losslens.record.lane import Lane
from tb_losslens.record.lane_start import SCALAR
from tb_losslens.record.outbox import Outbox, Sent
from tb_losslens.record.passes import Pass
from tb_losslens.record.row import Row
from tb_losslens.record.scalar_steps import ScalarSteps
from tb_losslens.record.step import Steps
from tb_losslens.record.validations import Validations

_FARTHEST = 1 << 62
"""A step beyond it is no number of a step, and could not be counted on from."""


class Recorder:
    """One recording session of a training.

    Args:
        session: where it is kept.
        guard: for warnings.
        loss_tag: the user's tag of the training loss, or None to find it.
        first_step: step of the first row where the user gives none.
        lr: gives the learning rates by column name.
        counter: gives the updates of running statistics so far, -1 without any.
        jump: called with the size of each boundary's jump and its step.
        epoch_ended: called with this after each epoch.
        lane: the short way for plain steps.
        deep_spent: gives the seconds that deep collectors have taken so far.
        about_epoch: gives further fields of the record "epoch_begin" or "epoch_end" of an epoch.
        about_validation: is told that a validation begins or ends, and its epoch; gives further fields of that record.
        completes: called with each deep row before it is stored, when all its numbers are known.
    """

    def __init__(
        self,
        session: Session,
        guard: Guard,
        *,
        loss_tag: str | None,
        first_step: int,
        lr: Callable[[], dict[str, float]],
        counter: Callable[[], float],
        jump: Callable[[float, int], None],
        epoch_ended: Callable[[Recorder], None],
        about_epoch: Callable[[str, int, bool], dict[str, Any]],
        about_validation: Callable[[str, int], dict[str, Any]],
        lane: Lane,
        deep_spent: Callable[[], float],
        completes: Callable[[Row], None] = lambda _: None,
    ) -> None:
        self.session = session
        self._guard = guard
        self.outbox = Outbox(session, self._before_stored, self._after_stored)
        self.steps = Steps(
            self.outbox,
            tag=loss_tag,
            first_step=first_step,
            lr=lr,
            warn=guard.warn,
            begins=self._row_begins,
            cadence=Cadences(lambda: guard.ran_so_far - guard.apart, deep_spent),
        )
        self.steps.epochs.on_end = self._epoch_ended
        self.steps.epochs.about = about_epoch
        self.validations = Validations(self.outbox, self.steps, counter)
        self.validations.tell = about_validation
        self._tell_epoch_ended = epoch_ended
        self._completes = completes
        self.lane = lane
        lane.recorder = self
        self._jump = BoundaryJump(jump)
        self._scalar_steps = ScalarSteps()
        self._facts: dict[str, Any] = {}
        self._sources: dict[str, int] = {}
        self._asked_for_loss = self._said_which_loss = False

    # --- loader -----------------------------------------------------------------------------------------------------

    def pulled(self, source: Pass, batch: Batch) -> None:
        """The loop took a batch."""
        if source.split != "train":
            self.validations.pulled(source, batch)
            return
        self.validations.training()
        if source.pulled == 1:
            self._loader_facts(source.loader)
        self.steps.pulled(source, batch)

    def exhausted(self, source: Pass) -> None:
        """The loop came to the end of the loader."""
        if source.split == "train":
            self.steps.exhausted(source)
        else:
            self.validations.left(source)

    def dropped(self, source: Pass) -> None:
        """The loop let go of the iterator."""
        if source.split == "train":
            self.steps.dropped(source)
        else:
            self.validations.left(source)

    # --- the user's own calls ---------------------------------------------------------------------------------------

    def start_epoch(self, epoch: int) -> None:
        """The next row begins this epoch."""
        self.steps.finish()
        self.steps.epochs.announce(epoch)

    def end_epoch(self) -> None:
        """The epoch is over."""
        self.steps.finish()
        self.steps.epochs.end(complete=None)

    def note(self, kind: str, text: str, fields: Mapping[str, Any]) -> None:
        """Something happened: after the newest row, or before it where its step is still on."""
        mid_step.pause(self.steps)
        self.outbox.record(kind, text=text, fields=fields)

    def minds(self, tag: str) -> bool:
        """True if a scalar of this name may be the loss of a batch or of a validation."""
        return self.steps.loss.may_be(tag) or self.validations.may_be(tag)

    def scalar(self, tag: str, value: Any, step: Any) -> None:
        """The user wrote a scalar."""
        training = self.steps.loss.may_be(tag)
        if not training and not self.validations.may_be(tag):
            return
        number = _number(value)
        if number is None:
            return
        at = None if step is None else int(step)
        if at is not None and not -_FARTHEST <= at <= _FARTHEST:
            at = None
        if training and at is not None:
            self._scalar_steps.write(tag, number, at)
        if self.lane.on and self.lane.scalar(tag, number, at):
            return
        if not training:
            self.validations.set(number, f"scalar:{tag}")
            self.validations.tag = tag
        elif not self.validations.said:
            self.lane.saw(SCALAR, tag)
            self.steps.scalar(tag, number, at)

    # --- rows -------------------------------------------------------------------------------------------------------

    def put(self, row: Row, values: Mapping[str, Any]) -> None:
        """Puts numbers into a row: at once those of the CPU, the others when their device has them."""
        now: dict[str, float] = {}
        for name, value in values.items():
            if not isinstance(value, Tensor):
                now[name] = value
            elif value.device.type == "cpu":
                now[name] = value.item()
            else:
                row.later.add(name, value)
        self.outbox.amend(row, now)

    def _row_begins(self) -> None:
        self.validations.settle()

    def _before_stored(self, row: Sent) -> None:
        if isinstance(row, Row) and row.deep:
            self._completes(row)
        self.steps.before_stored(row)

    def _after_stored(self, row: Sent) -> None:
        values = row.values
        self._jump.add(values.get("loss", math.nan), int(values.get("epoch", -1)), int(values["step"]))

    def stored(self, losses: list[float], epoch: int, steps: list[int]) -> None:
        """The session got rows of one epoch in another way than by the outbox."""
        self._jump.extend(losses, epoch, steps)

    def _epoch_ended(self) -> None:
        steps = self.steps
        self._ask_for_loss()
        self._say_which_loss()
        if odd := self._scalar_steps.facts:
            self.facts({"scalar_steps": odd})
        if "batches_per_epoch" not in self._facts and steps.epochs.complete:
            self.facts({"batches_per_epoch": steps.epochs.length})
        self._tell_epoch_ended(self)

    # --- facts and the end ------------------------------------------------------------------------------------------

    @property
    def known(self) -> Mapping[str, Any]:
        """All facts so far."""
        return self._facts

    def facts(self, fields: Mapping[str, Any]) -> None:
        """Records facts of the run that are new or have changed."""
        new = {key: value for key, value in fields.items() if key not in self._facts or self._facts[key] != value}
        if new:
            self._facts.update(new)
            self.outbox.record("facts", fields=new)

    def loss_facts(self) -> dict[str, Any]:
        """Where the loss of the rows came from: the source of most of them."""
        sources = self.steps.loss.sources
        return {"loss_source": max(sources, key=lambda name: sources[name])} if sources else {}

    def several_losses(self, count: int) -> None:
        """A batch had this many losses, each with a backward and a step of its own."""
        if count > self._facts.get("losses_per_batch", 1):
            self.facts({"losses_per_batch": count})

    def _say_which_loss(self) -> None:
        count = self._facts.get("losses_per_batch", 1)
        if count > 1 and not self._said_which_loss and self.loss_facts().get("loss_source") == "criterion":
            self._said_which_loss = True
            self._guard.warn(
                f"each batch has {count} losses with a step of their own: 'loss' is the first of them, and the others are kept "
                "beside it as 'loss.1' and so on. writer.log_batch(loss) says which one you mean"
            )

    def _ask_for_loss(self) -> None:
        """Says once, while it can still be mended, that an epoch ended of which no loss was seen, or only now and then."""
        steps = self.steps
        length = steps.epochs.length
        if self._asked_for_loss or length <= 2:
            return
        had = sum(steps.loss.sources.values())
        if not had and steps.loss.undecided:
            self._asked_for_loss = True
            self._guard.warn(
                f"no loss was seen in the {length} batches of epoch {steps.epochs.number}. Record it with "
                "writer.log_batch(loss), writer.watch(criterion=criterion) or writer.add_scalar('Loss/train', loss, step)"
            )
        elif steps.loss.tag is not None and set(steps.loss.sources) == {f"scalar:{steps.loss.tag}"} and 2 * had <= length:
            self._asked_for_loss = True
            self._guard.warn(
                f"the scalar {steps.loss.tag!r} was written in {had} of the {length} batches of epoch {steps.epochs.number}: "
                "the jump at an epoch boundary needs the loss of every batch. Record it with writer.log_batch(loss) or "
                "writer.watch(criterion=criterion)"
            )

    def source_number(self, name: str) -> int:
        """Number of a data source that has a name; the names are facts."""
        if name not in self._sources:
            self._sources[name] = len(self._sources)
            self.facts({"sources": dict(self._sources)})
        return self._sources[name]

    def _loader_facts(self, loader: Mapping[str, Any]) -> None:
        named = {"batches_per_epoch": "batches", "dataset_size": "dataset_size", "shuffle": "shuffle"}
        known = {fact: loader[key] for fact, key in named.items() if loader.get(key) is not None}
        self.facts({**known, "loader": dict(loader)})

    def flush(self) -> None:
        """Brings everything that is complete to disk."""
        row = self.steps.current
        if row is not None and (row.stepped or row.logged):
            self.steps.release(row)
        self.validations.settle()
        self.outbox.drain(wait=True)
        self.session.flush()

    def close(self) -> None:
        """Ends the recording; the session stays open."""
        self.steps.pause()
        self.validations.end()
        self.steps.close()
        self.outbox.drain(wait=True, force=True)
        tags = ", ".join(map(repr, sorted(self.steps.bare.tags)))
        if tags and not self.session.batches:
            self._guard.warn(
                f"no batch was recorded: {tags} was not written once for each step of an optimiser. Record batches with "
                "train_loader = writer.wrap(train_loader), or with writer.log_batch(loss)"
            )


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return None  # torch takes the name of a Caffe2 blob
    if isinstance(value, Tensor):
        return float(value.detach()) if value.numel() == 1 and not value.is_meta else None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
