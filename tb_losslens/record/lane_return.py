"""Hands back to the long way what the short way had noted: it is then as if it had seen everything itself."""

from __future__ import annotations

import weakref
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tb_losslens.record.batch import Batch, describe
from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.lane_start import CRITERION, FORWARD, LOSS, PULL, SCALAR, STEP, STEPPED, WAIT, Usual
from tb_losslens.record.row import Row
from tb_losslens.record.sampler_tap import as_ids

if TYPE_CHECKING:
    from tb_losslens.record.recorder import Recorder
    from tb_losslens.record.watch import Watch


@dataclass(frozen=True, eq=False)
class Noted:
    """What was noted of the row that is on.

    Attributes:
        raw: what the loader delivered.
        ids: dataset indices.
        values: as far as there are any, by the places of `lane_start`.
        samples: samples of the criterion's call, -1 where unknown.
        backward: a backward came after that call.
        stepped: a step was made, and its rates are among the values.
        inputs: what the model was given.
        given: the step of the user's scalar.
    """

    raw: Any
    ids: array[int] | None
    values: list[float]
    samples: int
    backward: bool
    stepped: bool
    inputs: weakref.ref[Tensor] | None
    given: int | None


def adopt(recorder: Recorder, usual: Usual, values: dict[str, float], samples: int, given: int | None) -> None:
    """The newest stored row as the long way would have left it."""
    index = int(values["index"])
    batch = Batch(size=int(values["batch_size"]), wait=values["data_wait"], index=index, source=usual.source)
    row = Row(values, batch=batch, epoch=int(values["epoch"]), index=index, dense=SPARSE)
    row.released = row.stored = True
    row.forwarded = FORWARD in usual.events
    row.backward = CRITERION in usual.events
    row.stepped = {id(usual.optimizer)}
    if CRITERION in usual.events:
        row.losses = [(values["loss"], samples)]
    if SCALAR in usual.events:
        row.scalars[usual.tag] = (values.get("logged_loss", values["loss"]), given)
        row.written[usual.tag] = 1
        row.scalar_used = True
    row.user_step = given
    recorder.steps.current = row
    recorder.outbox.adopt(row)


def replay(watch: Watch, recorder: Recorder, usual: Usual, kind: int, noted: Noted) -> None:
    """One event of the row that is on."""
    values, steps = noted.values, recorder.steps
    if kind == PULL:
        batch = describe(noted.raw, targets=False)
        batch.ids = as_ids(noted.ids) if noted.ids is not None else None
        batch.wait, batch.index, batch.source, batch.dense = values[WAIT], usual.source.pulled - 1, usual.source, SPARSE
        steps.pulled(usual.source, batch)
    elif kind == FORWARD:
        assert noted.inputs is not None
        watch.forwards.replay(values[usual.mode_at], noted.inputs)
    elif kind == CRITERION:
        steps.criterion(values[LOSS], noted.samples)
        if noted.backward:
            steps.backward()
    elif kind == STEP:
        known = dict(zip(usual.names, values, strict=True))
        if not noted.stepped:  # then the rates are those of now
            known = {name: group["lr"] for name, group in zip(usual.rates, usual.optimizer.param_groups, strict=False)}
        watch.updates.replay(usual.optimizer, {name: known[name] for name in usual.rates if name in known})
    elif kind == STEPPED:
        steps.step_ends()
    else:
        steps.scalar(usual.tag, values[usual.scalar_at], noted.given)
