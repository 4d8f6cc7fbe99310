"""Forty healthy trainings that differ in everything: data, network, optimiser, schedule, batch size, sampling, signals.

None has a fault, and none is explained by a cause that is not there. The runs are short; the chance of a false alarm does not
fall with their length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.trainings import train

NETWORKS = [
    ("mlp", "digits", 0.2), ("cnn", "digits", 0.1), ("dropout", "digits", 0.2), ("batchnorm", "gaussian", 0.05),
    ("linear", "gaussian", 0.05), ("mlp", "regression", 0.02), ("linear", "plane", 0.01), ("deep", "wide", 0.05),
    ("lstm", "tokens", 0.5), ("deep", "regression", 0.02),
]  # fmt: skip
OPTIMIZERS = {"sgd": 1.0, "momentum": 0.1, "adam": None, "adamw": None, "rmsprop": None}
BATCH_SIZES = (4, 8, 16, 32, 64, 128)


def one_cycle(step: int, total: int, per_epoch: int) -> float:
    part = step / total
    return 0.04 + 0.96 * part / 0.3 if part < 0.3 else 1e-4 + 0.5 * (1 + math.cos(math.pi * (part - 0.3) / 0.7))


def warm_up_by_epochs(step: int, total: int, per_epoch: int) -> float:
    return min(1.0, (step // per_epoch + 1) / 3)


def exponential_by_epochs(step: int, total: int, per_epoch: int) -> float:
    return float(0.85 ** (step // per_epoch))


class Plateau:
    """Halves the LR when the mean loss of an epoch is no better than the best but one before; sees the loss as it is made."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.means: list[float] = []
        self.factor = 1.0

    def see(self, mean: Tensor, losses: Tensor) -> Tensor:
        self.losses.append(float(mean.detach()))
        return mean

    def __call__(self, step: int, total: int, per_epoch: int) -> float:
        if step and step % per_epoch == 0:
            self.means.append(float(np.mean(self.losses[-per_epoch:])))
            if len(self.means) > 2 and self.means[-1] > min(self.means[:-2]):
                self.factor *= 0.5
        return self.factor


SCHEDULES: list[str | Callable[[int, int, int], float]] = [
    "constant", "cosine", "linear", "warmup", "step", one_cycle, warm_up_by_epochs, exponential_by_epochs,
]  # fmt: skip


def with_replacement(epoch: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(0, samples, samples)


def without_ids(run: Run) -> Run:
    hidden = {"order_hash": None, "set_hash": None, "first_ids": [], "last_ids": []}
    events = tuple(replace(e, fields={**e.fields, **hidden}) if e.kind == "epoch_end" else e for e in run.events)
    return replace(run, events=events, ragged={k: v for k, v in run.ragged.items() if k != "sample_ids"})


def training(k: int) -> Run:
    """The k-th of forty: every list is walked through at its own pace."""
    model, data, base = NETWORKS[k % len(NETWORKS)]
    optimizer = list(OPTIMIZERS)[k % 7 % len(OPTIMIZERS)]
    factor = OPTIMIZERS[optimizer]
    size = BATCH_SIZES[(k // 2) % len(BATCH_SIZES)]
    options: dict[str, Any] = {
        "model": model, "data": data, "optimizer": optimizer, "lr": base * factor if factor else 2e-3, "batch_size": size,
        "samples": 1500 if size >= 64 else 800 if size >= 16 else 400, "epochs": 6 + k % 5, "seed": k,
        "schedule": SCHEDULES[k % len(SCHEDULES)], "drop_last": k % 3 == 0 or model in ("cnn", "batchnorm"),
        "order": with_replacement if k % 6 == 5 else None, "clip": 1.0 if k % 5 == 4 else None,
    }  # fmt: skip
    if data == "wide" and not factor:  # at 2e-3 it learns the samples by heart, and loses all that it knew of others
        options["lr"] = 2e-4
    if k % 9 == 8:
        plateau = Plateau()
        options |= {"schedule": plateau, "change_loss": plateau.see}
    run = train(**options)
    return without_ids(run) if k % 4 == 3 else run


@pytest.mark.parametrize("k", range(40))
def test_a_healthy_training_has_no_fault(k: int) -> None:
    diagnosis = diagnose(training(k))
    wrong = [(f.cause, f.detail, f.kind, f.text) for f in diagnosis.findings if f.kind == "fault"]
    assert not wrong
    assert not [s for s in diagnosis.skipped if s.why.startswith("failed")]
    explained = {f.cause for f in diagnosis.findings if f.explains_jump}
    assert explained <= {"batch_noise", "memorization", "lr_decrease", "partial_last_batch"}
