"""For all tests of the analysis: how much of a training is read, whatever else the machine has to do meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import pytest

from tb_losslens.record import cadence
from tb_losslens.record.probe import probe
from tb_losslens.record.probe.budget import ProbeBudget
from tb_losslens.record.signals import fingerprints, held_out_loss

SLOWER = 4
"""Times that a machine may be slower than an idle one, for all rows of short trainings to be read as they are there."""

PLENTY = 1e9


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Around fixtures of every scope, which record most trainings: what takes little of a budget on an idle machine is read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cadence, "GRANT", SLOWER * cadence.GRANT)
        patch.setattr(cadence, "DEEP_GRANT", SLOWER * cadence.DEEP_GRANT)
        patch.setattr(probe, "ProbeBudget", partial(ProbeBudget, grant=PLENTY))
        patch.setattr(fingerprints, "GRANT", PLENTY)
        patch.setattr(held_out_loss, "GRANT", PLENTY)
        return (yield)


@pytest.fixture
def hardly_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is recorded from here on few rows are dense: what they hold is not asked for, and it takes most of the time."""
    monkeypatch.setattr(cadence, "GRANT", 0.0)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 0.0)
