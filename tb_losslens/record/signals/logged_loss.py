"""Answers which function of output and target a loss is that was logged, where no criterion is watched that computed it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tb_losslens.record.batch import Batch, target_of, version_of
from tb_losslens.record.cadence import DEEP
from tb_losslens.record.collector import Collector
from tb_losslens.record.late_list import LateList, comes_unasked
from tb_losslens.record.measures import is_dense
from tb_losslens.record.model_output import output_of
from tb_losslens.record.row import Row
from tb_losslens.record.signals.class_losses import largest_loss, take_class_losses
from tb_losslens.record.signals.loss_functions import FUNCTIONS, REDUCTIONS, as_classes, losses_by, output_kind
from tb_losslens.record.signals.loss_identity import (
    EVERY,
    MOST_ELEMENTS,
    MOST_SAMPLES,
    RELATIVE,
    SMALLEST,
    pair_of,
    settings_of,
)

MOST_TARGETS = 1 << 20
"""Elements of a target that is copied."""

TRIES = 8
"""Losses in a row that were none of the functions, after which no more are compared unless as many had been one before."""

SURE = 3
"""Losses in a row that were the same function, after which only that one is computed."""

_SILENT = 2


@dataclass(frozen=True, eq=False)
class _Tried:
    """The functions of one batch: numbers only, of which a device may still owe the values.

    Attributes:
        names: of the functions.
        values: kind of the output, the reductions of each function, then the losses of each sample by each function.
        samples: how many losses of samples each function has there, 0 if there were too many.
        target: the targets, where they are one number a sample; a copy.
        half: the output has half precision, so that the loss may have, too.
    """

    names: tuple[str, ...]
    values: LateList
    samples: int
    target: Tensor | None
    half: bool


class LoggedLoss(Collector):
    """`loss_identity`, `output_kind`, `per_sample` and what follows from it, for a loss that a function computed.

    The output is what the watched model returned with a graph, the target what a wrapped loader delivered or `log_batch` was
    given, and the loss is that of the row, wherever it comes from: the log is all that is known of it. So a row has these
    columns only where a function is the loss to 1e-4 of it, and -1 only once an earlier loss was one: a loss that never was any
    of them may have further terms, and nothing is said of it. After 8 of those nothing is compared any more, also where the
    first loss or two had been a function, as that of a running mean is.

    The functions are computed as the model returns, and only their values wait for the loss. Of a loader without targets the
    output is kept until `log_batch`, or the end of the row. Looked at are the rows near a boundary, and one in 16 of the other
    deep ones; where that one has no loss, as where it is logged now and then, those after it. Rows with several calls of
    models, as those of a GAN, are left out: nobody says which of them the loss is of.

    Args:
        criteria: gives the watched criteria; while they are called the loss is theirs.
    """

    deep = True
    name = "identity of the logged loss"

    def __init__(self, criteria: Callable[[], Sequence[Any]]) -> None:
        self._criteria = criteria
        self._targets: weakref.WeakKeyDictionary[Batch, Tensor] = weakref.WeakKeyDictionary()
        self._rows: weakref.WeakKeyDictionary[Row, _Tried | None] = weakref.WeakKeyDictionary()
        self._kept: tuple[weakref.ref[Row], Tensor] | None = None
        self._looks = self._in_vain = self._hits = self._misses = self._agreed = self._silent = 0
        self._unheard = self._explicit = False
        self._known: str | None = None
        self._reduction = ""

    # --- what the training does -------------------------------------------------------------------------------------

    def delivered(self, batch: Batch, raw: Any) -> None:
        """Copies the targets of a batch that will be looked at: after the loop has moved them to a device nothing is left."""
        reason = batch.dense or 0
        if self._explicit or not reason & DEEP or self._is_off():
            return
        target = target_of(raw)
        if target is not None and is_dense(target) and target.numel() <= MOST_TARGETS and self._is_due(reason & ~DEEP):
            self._targets[batch] = target.detach().clone()

    def criterion_called(self, row: Row, given: tuple[Any, ...], loss: Tensor) -> None:  # noqa: ARG002 - a collector's signature
        """The loss is that of a watched criterion."""
        self._silent = 0

    def forward_ends(self, row: Row, output: Any) -> None:
        """Computes the functions of what came out, or keeps it until the targets are told."""
        self._silent += 1
        again, self._kept = row in self._rows, None
        self._rows[row] = None
        batch = row.batch
        target = None if batch is None else self._target(batch)
        if again or self._is_off():
            return
        chosen = output_of(output)
        if chosen is None or chosen.numel() > MOST_ELEMENTS or not comes_unasked(chosen.device):
            return
        if target is not None and not self._explicit:
            self._rows[row] = self._try(row, chosen, target)
        elif (self._explicit or batch is None or batch.target is None) and self._in_vain < TRIES and self._is_due(row.dense):
            self._kept = weakref.ref(row), chosen.detach()

    def targets_logged(self, row: Row, targets: Tensor) -> None:
        """The user says what the targets are: those of the loader may be something else."""
        self._explicit, self._in_vain = True, 0
        kept, self._kept = self._kept, None
        if kept is not None and kept[0]() is row and is_dense(targets):
            flat = targets.dim() == 1 and targets.device.type == "cpu"
            self._rows[row] = self._try(row, kept[1], targets.detach().clone() if flat else targets)

    def completes(self, row: Row) -> None:
        """Its loss is known now, if it was logged at all."""
        if self._kept is not None and self._kept[0]() is row:
            self._kept = None
            self._in_vain += 1
        tried = self._rows.pop(row, None)
        if tried is None:
            return
        loss = row.values.get("loss", math.nan)
        self._unheard = math.isnan(loss)
        is_criterion = bool(row.losses) or "loss_identity" in row.values
        if is_criterion or not SMALLEST < abs(loss) < math.inf or not tried.values.ready:
            return
        if not (tried.half and _has_half_precision(loss)):
            self._compare(row, tried, loss)

    @property
    def function(self) -> tuple[str, str] | None:
        """Name and reduction of what the loss is, once that is sure; None while a watched criterion computes it."""
        if self._known is None or self._agreed < SURE or self._is_off():
            return None
        return self._known, self._reduction

    # --- the comparison ---------------------------------------------------------------------------------------------

    def _is_off(self) -> bool:
        """True where a watched criterion computes the loss, or none of the functions is it."""
        watched = bool(self._criteria()) and self._silent <= _SILENT
        return watched or (self._hits < TRIES <= self._misses)

    def _is_due(self, reason: int) -> bool:
        self._looks += 1
        return reason > 1 or self._unheard or self._looks % EVERY == 1

    def _target(self, batch: Batch) -> Tensor | None:
        kept = self._targets.pop(batch, None)
        live = batch.target() if kept is not None and batch.target is not None else None
        if live is not None and version_of(live) != batch.version:
            return live.detach().clone()  # the loop has changed it in its place
        return kept

    def _try(self, row: Row, output: Tensor, target: Tensor) -> _Tried | None:
        """The functions that make sense for them, None without any; nothing is waited for."""
        pair = pair_of((output, beside(target, output)))
        names = FUNCTIONS if self._known is None or self._agreed < SURE else (self._known,)
        found = {} if pair is None else losses_by(names, *pair, settings_of(self._criteria()))
        if pair is None or not found:
            self._misses += 1
            return None
        with torch.no_grad():
            table = as_classes(*pair) if not pair[1].is_floating_point() else None
            kind = output_kind(table if table is not None else pair[0])
            count = len(target)
            samples = count if count <= MOST_SAMPLES and (row.batch is None or row.batch.size in (-1, count)) else 0
            parts = [kind.reshape(1).float(), *(losses.reduced().float() for losses in found.values())]
            parts += [losses.per_sample.float() for losses in found.values()] if samples else []
            values = LateList(torch.cat(parts))
        half = output.dtype in (torch.float16, torch.bfloat16)
        return _Tried(tuple(found), values, samples, target if target.dim() == 1 else None, half)

    def _compare(self, row: Row, tried: _Tried, loss: float) -> None:
        values, count = np.asarray(tried.values), len(REDUCTIONS)
        kind = float(values[0])
        near = np.abs(values[1 : 1 + count * len(tried.names)].astype(np.float64) - loss) <= RELATIVE * abs(loss)
        codes = [FUNCTIONS.index(tried.names[at // count]) * count + at % count for at in np.flatnonzero(near).tolist()]
        if not codes:
            self._agreed = 0
            self._misses += 1
            if self._known is not None:
                self.tell(row, {"loss_identity": -1.0, "output_kind": kind})
            return
        code = min(codes)
        name = FUNCTIONS[code // count]
        self._agreed = self._agreed + 1 if name == self._known else 1
        self._hits, self._misses = self._hits + 1, 0
        self._known, self._reduction = name, REDUCTIONS[code % count]
        self.tell(row, {"loss_identity": float(code), "output_kind": kind})
        if tried.samples and "per_sample" not in row.lists:
            begin = 1 + count * len(tried.names) + tried.names.index(name) * tried.samples
            losses = values[begin : begin + tried.samples].copy()
            row.lists["per_sample"] = losses
            self.tell(row, largest_loss(row, losses))
            take_class_losses(row, losses, tried.target)


def beside(target: Tensor, output: Tensor) -> Tensor:
    """The target on the output's device, where it can be brought there without waiting."""
    if target.device.type != "cpu" or output.device.type != "cuda":
        return target
    pinned = torch.empty(target.shape, dtype=target.dtype, pin_memory=True)
    return pinned.copy_(target).to(output.device, non_blocking=True)


def _has_half_precision(loss: float) -> bool:
    """True for a number that float16 or bfloat16 can hold, as a mean that was taken in one of them: of three digits or less."""
    exact = torch.tensor(loss, dtype=torch.float64)
    return any(exact.to(kind).double().item() == loss for kind in (torch.float16, torch.bfloat16))
