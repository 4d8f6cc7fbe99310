"""Plans in settings, schedules and notes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.planned_end import planned_end
from tb_losslens.store.run import Run, RunEvent


def run_of(config: Any = None, *, events: tuple[RunEvent, ...] = (), **facts: Any) -> Run:
    run = Run.from_arrays(loss=np.ones(60), epoch_length=10)
    return replace(run, facts={**({} if config is None else {"config": config}), **facts}, events=events)


@pytest.mark.parametrize(
    ("config", "part", "patience"),
    [
        ({"epochs": 12, "patience": 3}, 0.5, 3),
        ({"trainer": {"max_epochs": 24}, "early_stopping_patience": 5}, 0.25, 5),
        ({"trainer.num_epochs": 6}, 1.0, 0),
        ({"epochs": 12, "lr_patience": 3}, 0.5, 0),
        ({"warmup_epochs": 3}, math.nan, 0),
        ({"epochs": 12, "max_epochs": 24}, math.nan, 0),
        ({"epochs": "12", "patience": True}, math.nan, 0),
        ({"epochs": math.nan}, math.nan, 0),
        ({"epochs": None}, math.nan, 0),
        ("epochs", math.nan, 0),
        (None, math.nan, 0),
    ],
)
def test_the_plan_of_the_settings(config: Any, part: float, patience: int) -> None:
    plan = planned_end(run_of(config))
    assert plan.part == pytest.approx(part, nan_ok=True)
    assert plan.patience == patience


def _ends(counts: list[Any]) -> tuple[RunEvent, ...]:
    return tuple(RunEvent("epoch_end", 10 * k + 10, fields={"schedule": [{"steps": [n]}]}) for k, n in enumerate(counts))


@pytest.mark.parametrize(
    ("scheduler", "counts", "part"),
    [
        ({"class": "CosineAnnealingLR", "T_max": 20}, [0, 1, 2, 3, 4], 0.25),
        ({"class": "CosineAnnealingLR", "T_max": 100}, [10, 20, 30, 40, 50], 0.5),
        ({"class": "OneCycleLR", "total_steps": 50}, [10, 20, 30, 40, 50], 1.0),
        ({"class": "StepLR", "step_size": 50}, [0, 1, 2, 3, 4], math.nan),
        ({"class": "CosineAnnealingLR", "T_max": 20}, [None, None], math.nan),
        ({"class": "CosineAnnealingLR", "T_max": 20}, [1, 2, 3, 1, 2], math.nan),  # it was made anew
        ({"class": "CosineAnnealingLR"}, [0, 1], math.nan),
        ({"class": "CosineAnnealingLR", "T_max": 0}, [0, 1], math.nan),
        (None, [0, 1], math.nan),
    ],
)
def test_the_plan_of_a_schedule(scheduler: Any, counts: list[Any], part: float) -> None:
    assert planned_end(run_of(events=_ends(counts), scheduler=scheduler)).part == pytest.approx(part, nan_ok=True)


def test_a_note_on_the_stop() -> None:
    assert planned_end(run_of(events=(RunEvent("note", 60, text="Early stopping at epoch 6"),))).noted
    assert not planned_end(run_of(events=(RunEvent("note", 60, text="stopped the augmentation"),))).noted
