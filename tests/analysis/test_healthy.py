"""Healthy trainings: twelve combinations of data, network, optimiser and schedule, and none of them is called faulty."""

from __future__ import annotations

from typing import Any

import pytest

from tb_losslens.analysis.engine import diagnose
from tests.trainings import train

COMBINATIONS: dict[str, dict[str, Any]] = {
    "mlp sgd": {},
    "cnn adam": {"model": "cnn", "optimizer": "adam", "lr": 2e-3},
    "batchnorm momentum cosine": {"model": "batchnorm", "optimizer": "momentum", "lr": 0.02, "schedule": "cosine"},
    "dropout adamw ragged": {"model": "dropout", "optimizer": "adamw", "lr": 2e-3, "drop_last": False},
    "gaussian adam linear": {"data": "gaussian", "optimizer": "adam", "lr": 3e-3, "schedule": "linear"},
    "linear model": {"data": "gaussian", "model": "linear", "lr": 0.05, "batch_size": 64},
    "regression step": {"data": "regression", "optimizer": "adam", "lr": 5e-3, "schedule": "step"},
    "regression warmup": {"data": "regression", "model": "dropout", "lr": 0.02, "schedule": "warmup", "batch_size": 20},
    "lstm adam": {"data": "tokens", "model": "lstm", "optimizer": "adam", "lr": 5e-3, "epochs": 8},
    "deep rmsprop": {"data": "regression", "model": "deep", "optimizer": "rmsprop", "lr": 1e-3},
    "batchnorm small batches": {"data": "gaussian", "model": "batchnorm", "batch_size": 24, "drop_last": False},
    "clipped momentum": {"data": "digits", "optimizer": "momentum", "lr": 0.05, "clip": 1.0},
}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_five_seeds_have_no_fault_and_no_artifact(name: str) -> None:
    for seed in range(5):
        diagnosis = diagnose(train(**{"epochs": 10, **COMBINATIONS[name], "seed": seed}))
        wrong = [(f.cause, f.detail, f.text) for f in diagnosis.findings if f.kind in ("fault", "artifact", "unknown")]
        assert not wrong, (seed, wrong)
        assert diagnosis.kind in ("benign", "planned")
        assert not [s for s in diagnosis.skipped if s.why.startswith("failed")]
