"""Trainings in which nothing is wrong get no finding of kind fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.combinations import COMBINATIONS
from demo.healthy import faults, runs, train
from demo.more_combinations import MORE
from tb_losslens import Diagnosis, diagnose, load_runs
from tb_losslens.record import cadence
from tests.demo.here import train_here

SEEDS = 2
"""The first of which every batch is read, and another of which hardly one is: in their first seconds, and later on."""
NAMES = runs(SEEDS)


@pytest.fixture(scope="module")
def diagnoses(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Diagnosis]:
    logdir: Path = tmp_path_factory.mktemp("healthy")
    first, again = ([name for name in NAMES if name.endswith(f"_{seed}")] for seed in range(SEEDS))
    train_here(train, first, logdir)
    with pytest.MonkeyPatch.context() as patch:  # as if they had gone on for an hour: of most batches only the loss is read
        patch.setattr(cadence, "GRANT", 0.0)
        patch.setattr(cadence, "DEEP_GRANT", 0.0)
        train_here(train, again, logdir)
    return {name: diagnose(run) for name, run in load_runs(str(logdir)).items()}


def test_there_are_enough_of_them(diagnoses: Mapping[str, Diagnosis]):
    assert len({*COMBINATIONS, *MORE}) >= 20
    assert len(diagnoses) == len(NAMES) >= 40


def test_they_are_measured_and_not_refused(diagnoses: Mapping[str, Diagnosis]):
    for name, diagnosis in diagnoses.items():
        assert len(diagnosis.boundaries) >= 6, name
        assert diagnosis.pooled.total == len(diagnosis.boundaries), (name, diagnosis.pooled.reason)


@pytest.mark.parametrize("name", NAMES)
def test_no_fault_is_found(name: str, diagnoses: Mapping[str, Diagnosis]):
    assert faults(diagnoses[name]) == [], diagnoses[name].verdict
