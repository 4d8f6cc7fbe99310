"""Trains every demo run once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.catalogue import MODULE_OF
from demo.run import train
from tb_losslens import Diagnosis, Run, diagnose, load_runs
from tests.demo.here import train_here


@pytest.fixture(scope="session")
def demo_logdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logdir in which every run of the catalogue was trained."""
    logdir = tmp_path_factory.mktemp("demo_runs")
    train_here(train, MODULE_OF, logdir)
    return logdir


@pytest.fixture(scope="session")
def demo_runs(demo_logdir: Path) -> Mapping[str, Run]:
    return load_runs(str(demo_logdir))


@pytest.fixture(scope="session")
def demo_diagnoses(demo_runs: Mapping[str, Run]) -> Mapping[str, Diagnosis]:
    return {name: diagnose(run) for name, run in demo_runs.items()}
