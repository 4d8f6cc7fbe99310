"""Real little trainings in torch, recorded straight into a `Run`: what the analysis is judged on.

`train` is a plain loop with a hook at each place where a fault can be put in. It records what the recorder would
record, but without the recorder, the disk or TensorBoard, so that an error in one of those cannot hide one here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tb_losslens.store.run import Ragged, Run, RunEvent
from tests.once import once
from tests.toys import build_model, build_optimizer, dataset, schedule_factor

Order = Callable[[int, int, np.random.Generator], NDArray[np.int64]]
"""(epoch, samples, rng) -> the order of sample ids in that epoch."""


def shuffled(epoch: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A new order each epoch: what `shuffle=True` does."""
    return rng.permutation(samples)


@dataclass
class _Recorder:
    columns: dict[str, list[float]] = field(default_factory=dict)
    classes: list[NDArray[np.int64]] = field(default_factory=list)
    ids: list[NDArray[np.int64]] = field(default_factory=list)
    per_sample: list[NDArray[np.float32]] = field(default_factory=list)
    events: list[RunEvent] = field(default_factory=list)

    def put(self, **values: float) -> None:
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value)

    @property
    def rows(self) -> int:
        return len(self.ids)

    def event(self, kind: str, text: str = "", **fields: Any) -> None:
        self.events.append(RunEvent(kind, self.rows, self.rows, 1e9 + self.rows, text, fields))


def _digest(ids: NDArray[np.int64]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(ids, dtype=np.int64).tobytes(), digest_size=8).hexdigest()


def _batches(order: NDArray[np.int64], size: int, drop_last: bool) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(order), size):
        ids = order[first : first + size]
        if len(ids) == size or not drop_last:
            yield ids


@once
def train(
    *,
    name: str = "run",
    data: str = "digits",
    samples: int = 1600,
    model: str = "mlp",
    optimizer: str = "sgd",
    lr: float = 0.1,
    batch_size: int = 32,
    epochs: int = 12,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = True,
    order: Order | None = None,
    schedule: str | Callable[[int, int, int], float] = "constant",
    training_mode: Callable[[int, int], bool] | None = None,
    validation_mode: Callable[[int], bool] | None = None,
    change_inputs: Callable[[Tensor, int, int], Tensor] | None = None,
    change_targets: Callable[[Tensor, int, int], Tensor] | None = None,
    change_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    logged: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]] | None = None,
    clip: float | None = None,
    per_sample: bool = False,
    facts: dict[str, Any] | None = None,
) -> Run:
    """Trains for real, once for the same plain arguments, and returns the recording.

    Args:
        order: the sample ids of each epoch; by default new at random (`shuffle`) or 0, 1, 2, ...
        schedule: a name of `schedule_factor`, or (step, total steps, steps per epoch) -> LR multiplier.
        training_mode: (step, epoch) -> `model.train(...)` before that step.
        validation_mode: epoch -> the mode during that validation (by default eval).
        change_inputs, change_targets: (tensor, step, epoch) -> what the model is really given.
        change_loss: (mean loss, per-sample losses) -> what is minimised and recorded.
        logged: (losses, index in epoch) -> the recorded curve, as a logger would distort it.
        clip: maximal gradient norm.
        per_sample: record the loss of each sample.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed + 1)
    x, y, held_x, held_y = dataset(data, samples)
    net = build_model(model, x, y)
    opt = build_optimizer(optimizer, net, lr)
    classify = y.dtype == torch.long
    criterion: nn.Module = nn.CrossEntropyLoss(reduction="none") if classify else nn.MSELoss(reduction="none")
    next_order = order or (shuffled if shuffle else lambda epoch, n, rng: np.arange(n))
    per_epoch = len(x) // batch_size if drop_last else math.ceil(len(x) / batch_size)
    total = per_epoch * epochs
    factor = schedule if callable(schedule) else lambda s, t, p: schedule_factor(str(schedule), s, t, p)
    parameters = list(net.parameters())
    loader = {
        "class": "DataLoader", "batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last, "workers": 0,
        "sampler": "RandomSampler" if shuffle else "SequentialSampler", "generator": False, "dataset_size": len(x),
    }  # fmt: skip
    rec = _Recorder()
    for epoch in range(epochs):
        ids_now = next_order(epoch, len(x), rng)
        rec.event("epoch_begin", epoch=epoch)
        seen: list[NDArray[np.int64]] = []
        for index, ids in enumerate(_batches(ids_now, batch_size, drop_last)):
            step = rec.rows
            mode = training_mode(step, epoch) if training_mode else True
            if net.training != mode:
                net.train(mode)
            inputs, targets = x[ids], y[ids]
            if change_inputs is not None:
                inputs = change_inputs(inputs, step, epoch)
            if change_targets is not None:
                targets = change_targets(targets, step, epoch)
            for group in opt.param_groups:
                group["lr"] = lr * factor(step, total, per_epoch)
            output = net(inputs)
            losses = criterion(output if classify else output.squeeze(1), targets)
            loss = losses.mean()
            if change_loss is not None:
                loss = change_loss(loss, losses)
            opt.zero_grad()
            loss.backward()
            norm = norm_at_step = _norm(parameters)
            if clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, clip)
                norm_at_step = _norm(parameters)
            rec.put(
                loss=float(loss.detach()), lr=opt.param_groups[0]["lr"], epoch=epoch, index=index, batch_size=len(ids),
                train_mode=float(net.training), grad_norm=norm, grad_norm_at_step=norm_at_step, time=1e9 + 1e-3 * step,
            )  # fmt: skip
            if inputs.is_floating_point():
                mean = float(inputs.mean())  # finite only where all of them are
                nonfinite = 0.0 if math.isfinite(mean) else float((~torch.isfinite(inputs)).sum())
                rec.put(input_mean=mean, input_std=float(inputs.std()), input_nonfinite=nonfinite)
            if classify:
                counts = np.bincount(targets.numpy())
                there = np.flatnonzero(counts)
                rec.classes.append(np.stack([there, counts[there]], axis=1).astype(np.int64))
            else:
                rec.put(target_mean=float(targets.mean()), target_std=float(targets.std()))
            if per_sample:
                rec.per_sample.append(losses.detach().numpy().copy())
            opt.step()
            seen.append(ids)
            rec.ids.append(ids)
        used = np.concatenate(seen)
        rec.event(
            "epoch_end", epoch=epoch, batches=len(seen), complete=True, order_hash=_digest(used),
            set_hash=_digest(np.sort(used)), first_ids=used[:8].tolist(), last_ids=used[-8:].tolist(), loader=loader,
        )  # fmt: skip
        mode = validation_mode(epoch) if validation_mode else False
        net.train(mode)
        rec.event("validation_begin", epoch=epoch)
        with torch.no_grad():
            out = net(held_x)
            value = float(criterion(out if classify else out.squeeze(1), held_y).mean())
        rec.event("validation_end", epoch=epoch, value=value, n=len(held_x), train_mode=float(mode))
    known = {"loss_source": "log_batch", "batches_per_epoch": per_epoch, "dataset_size": len(x), "shuffle": shuffle}
    return _run(name, rec, {**known, **(facts or {})}, logged)


def _norm(parameters: list[nn.Parameter]) -> float:
    grads = [p.grad for p in parameters if p.grad is not None]
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))))


def _run(
    name: str,
    rec: _Recorder,
    facts: dict[str, Any],
    logged: Callable[[NDArray[np.float64], NDArray[np.int64]], NDArray[np.float64]] | None,
) -> Run:
    integers = ("epoch", "index", "batch_size")
    columns: dict[str, NDArray[Any]] = {
        key: np.asarray(values, dtype=np.int64 if key in integers else np.float64) for key, values in rec.columns.items()
    }
    columns["step"] = np.arange(rec.rows)
    if logged is not None:
        columns["loss"] = logged(columns["loss"], columns["index"])
    ragged = {"sample_ids": Ragged.from_lists(rec.ids)}
    if rec.classes:
        ragged["classes"] = Ragged.from_lists(rec.classes)
        columns["class_rest"] = np.zeros(rec.rows, dtype=np.int64)
    if rec.per_sample:
        ragged["per_sample"] = Ragged.from_lists(rec.per_sample)
    return Run(name, columns, ragged, tuple(rec.events), facts)
