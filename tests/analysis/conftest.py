"""For all tests of the analysis: what is recorded does not hang on what else the machine has to do."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tb_losslens.record import cadence

SLOWER = 4
"""Times that a machine may be slower than an idle one, for all rows of short trainings to be read as they are there."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Around fixtures of every scope: these record most trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cadence, "GRANT", SLOWER * cadence.GRANT)
        patch.setattr(cadence, "DEEP_GRANT", SLOWER * cadence.DEEP_GRANT)
        return (yield)
