"""For all tests of the analysis: how much of a training is read."""

from __future__ import annotations

import pytest

from tb_losslens.record import cadence


@pytest.fixture
def hardly_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is recorded from here on few rows are dense: what they hold is not asked for, and it takes most of the time."""
    monkeypatch.setattr(cadence, "GRANT", 0.0)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 0.0)
