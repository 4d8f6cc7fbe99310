"""Answers whether the next step of a loop may go the short way, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from tb_losslens.record.cadence import SPARSE
from tb_losslens.record.passes import Pass
from tb_losslens.record.row import Row

if TYPE_CHECKING:
    from tb_losslens.record.recorder import Recorder
    from tb_losslens.record.watch import Watch

PULL, FORWARD, CRITERION, STEP, STEPPED, SCALAR, OTHER, END = range(8)
"""Kinds of events; END comes after the last one of a sequence."""

_ORDERS = frozenset(
    {
        (PULL, FORWARD, CRITERION, STEP, STEPPED),
        (PULL, FORWARD, CRITERION, STEP, STEPPED, SCALAR),
        (PULL, FORWARD, CRITERION, SCALAR, STEP, STEPPED),
        (PULL, CRITERION, STEP, STEPPED),
        (PULL, CRITERION, STEP, STEPPED, SCALAR),
        (PULL, FORWARD, STEP, STEPPED, SCALAR),
        (PULL, STEP, STEPPED, SCALAR),
    }
)
"""Sequences that are taken: each ends a batch with one step of one optimiser, and has one loss."""

NUMBER, INDEX, SIZE, TIME, WAIT, LOSS, RATE = range(7)
"""Place of each value of a row; then come more rates, the mode and a scalar beside the loss, as far as it has them."""

_FIRST = ("step", "index", "batch_size", "time", "data_wait", "loss")


@dataclass(frozen=True, eq=False)
class Usual:
    """The sequence that made the last two rows.

    Attributes:
        events: their kinds.
        source: the pass that is trained on.
        model: what is called, if that is seen.
        criterion: the same of the loss.
        optimizer: the only one.
        parameter: one that has a gradient whenever any has; None if there is none.
        tag: the scalar that is written, or "".
        names: columns that differ from row to row, in the order of their values.
        constants: the columns that do not.
        row: the last row that went the long way.
    """

    events: tuple[int, ...]
    source: Pass
    model: nn.Module | None
    criterion: nn.Module | None
    optimizer: Optimizer
    parameter: Tensor | None
    tag: str
    names: tuple[str, ...]
    constants: Mapping[str, float]
    row: Row

    @property
    def loss_source(self) -> str:
        """Where the loss of its rows comes from."""
        return "criterion" if CRITERION in self.events else f"scalar:{self.tag}"

    @property
    def rates(self) -> tuple[str, ...]:
        """The columns of learning rates."""
        return tuple(name for name in self.names if name == "lr" or name.startswith("lr."))

    @property
    def mode_at(self) -> int:
        """Place of the mode among the values."""
        return self.names.index("train_mode") if FORWARD in self.events else -1

    @property
    def scalar_at(self) -> int:
        """Place of the scalar among the values."""
        return len(self.names) - 1 if CRITERION in self.events else LOSS

    @property
    def samples_each(self) -> float:
        """Samples of the criterion's call for each of the batch, of the last row; -1.0 where that is not known."""
        row = self.row
        size = row.batch.size if row.batch is not None else -1
        samples = row.losses[0][1] if len(row.losses) == 1 else -1
        return samples / size if size > 0 and samples > 0 else -1.0

    def what(self, kind: int) -> Any:
        """What an event of this kind was about."""
        return {FORWARD: self.model, CRITERION: self.criterion, STEP: self.optimizer, SCALAR: self.tag}.get(kind)


def usual_sequence(
    watch: Watch, recorder: Recorder, before: tuple[int, ...], seen: list[tuple[int, Any]], source: Pass
) -> Usual | None:
    """The sequence that the next row will be made by, if it is as the two before and may go the short way.

    Args:
        watch: the watched objects.
        recorder: where rows go.
        before: the events of the row before the last one.
        seen: those of the last one, and what they were about.
        source: the pass that the next batch was pulled from.
    """
    events = tuple(kind for kind, _ in seen)
    steps, row = recorder.steps, recorder.steps.current
    if events != before or events not in _ORDERS or row is None:
        return None
    if not row.stored or row.batch is None or row.batch.source is not source or row.more:
        return None
    settled = steps.steady(source) and recorder.outbox.idle and recorder.validations.current is None
    if not settled or watch.collectors.waiting or len(watch.updates.optimizers) != 1:
        return None
    what = dict(seen)
    optimizer: Optimizer = what[STEP]
    groups = optimizer.param_groups
    if optimizer is not watch.updates.optimizers[0] or any(type(group.get("lr")) is not float for group in groups):
        return None
    rates = tuple(f"lr.{i}" if i else "lr" for i in range(len(groups)))
    mode = ("train_mode",) if FORWARD in what else ()
    beside = ("logged_loss",) if SCALAR in what and CRITERION in what else ()
    return Usual(
        events=events,
        source=source,
        model=what.get(FORWARD),
        criterion=what.get(CRITERION),
        optimizer=optimizer,
        # the last one, of the last layer, has a gradient whatever else is frozen
        parameter=next((p for p in reversed(groups[-1]["params"]) if p.requires_grad), None),
        tag=what.get(SCALAR, ""),
        names=(*_FIRST, *rates, *mode, *beside),
        constants={"epoch": steps.epochs.number, "dense": SPARSE, "cadence": steps.cadence.every},
        row=row,
    )
