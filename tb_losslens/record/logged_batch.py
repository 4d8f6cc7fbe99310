"""Puts what `log_batch` was given into the row of its batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tb_losslens.record.arguments import dense
from tb_losslens.record.batch import describe_targets, tensors_of
from tb_losslens.record.batch_arguments import Logged
from tb_losslens.record.guard import Guard
from tb_losslens.record.late_list import as_row_list
from tb_losslens.record.measures import input_moments
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.row import Row
from tb_losslens.record.signals.class_losses import largest_loss, take_class_losses
from tb_losslens.record.watch import Watch


def fill(recorder: Recorder, watch: Watch, logged: Logged, guard: Guard) -> None:
    """Finishes the row that `logged` belongs to; only 0-d results of its tensors are kept.

    Tensors may be of any kind. One whose numbers cannot be summed up costs what would be told of it, and not the row.
    """
    before = recorder.steps.current
    try:
        _fill(recorder, watch, logged, guard)
    except BaseException:  # a batch whose call did not return is not recorded by half
        recorder.steps.withdraw(before)
        raise


def _fill(recorder: Recorder, watch: Watch, logged: Logged, guard: Guard) -> None:
    row = recorder.steps.logged(logged.epoch)
    if logged.step is not None:
        recorder.steps.set_step(row, logged.step)
    values: dict[str, Any] = {"loss": logged.loss, **logged.columns}
    if logged.batch_size is not None:
        values["batch_size"] = logged.batch_size
    if logged.inputs is not None and logged.inputs.numel():
        values.update(guard.call("log_batch(inputs=...)", input_moments, logged.inputs) or {})
    if isinstance(logged.source, str):
        values["source"] = recorder.source_number(logged.source)
    elif logged.source is not None:
        values["source"] = logged.source
    norm = guard.call("log_batch(hidden=...)", _norm, logged.hidden) if logged.hidden is not None else None
    if norm is not None:
        values["hidden_norm"] = norm
    targets = guard.call("log_batch(targets=...)", describe_targets, logged.targets) if logged.targets is not None else None
    if targets is not None:
        row.take_targets(targets)
    if logged.targets is not None:
        watch.collectors.tell("targets_logged", row, logged.targets)
    _fill_lists(row, logged)
    values.update(_losses(row, logged))
    recorder.put(row, values)
    if logged.graph is not None and not row.backward:
        watch.losses.expect(logged.graph)
    recorder.steps.release(row)


def _fill_lists(row: Row, logged: Logged) -> None:
    if logged.sample_ids is not None:
        row.ids = logged.sample_ids
    if logged.per_sample is not None:
        losses = logged.per_sample
        # a copy: the tensor is the training's own, which may write to it
        row.lists["per_sample"] = as_row_list(losses.clone()) if isinstance(losses, Tensor) else losses.copy()
    known = logged.sample_ids if logged.sample_ids is not None else logged.per_sample
    if known is not None and row.batch is None:
        row.values.setdefault("batch_size", len(known))


def _losses(row: Row, logged: Logged) -> dict[str, float | Tensor]:
    """The largest loss of a sample and whose it is; in deep rows what each class lost as well."""
    if logged.per_sample is None:
        return {}
    losses = row.lists["per_sample"]
    if not isinstance(losses, np.ndarray):  # a device knows which one it is, and is not asked for more
        return {"sample_loss_max": logged.per_sample.max()} if len(logged.per_sample) else {}
    if row.deep:
        take_class_losses(row, losses, logged.targets)
    return dict(largest_loss(row, losses))


def _norm(hidden: Any) -> float | Tensor:
    """2-norm of a hidden state: a tensor, a tuple of them, or the norm itself."""
    tensors = [tensor.detach() for tensor in tensors_of(hidden)]
    if not tensors:
        return float(hidden)
    if any(tensor.is_nested and tensor.layout is torch.strided for tensor in tensors):
        return math.nan  # torch has no norm of these
    with torch.no_grad():
        norms = [torch.linalg.vector_norm(_wide(dense(tensor))) for tensor in tensors]
        norm = torch.linalg.vector_norm(torch.stack(norms))
    return float(norm) if norm.device.type == "cpu" else norm


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_complex() else tensor.float()
