"""For all tests: which come first, what is not searched for garbage, and how much of a training is read for a diagnosis."""

from __future__ import annotations

import gc
from collections.abc import Generator
from functools import partial
from pathlib import Path

import pytest

from tb_losslens.record import cadence
from tb_losslens.record.probe import probe
from tb_losslens.record.probe.budget import ProbeBudget
from tb_losslens.record.signals import fingerprints, held_out_loss

HERE = Path(__file__).parent

DEAREST = (
    "demo/test_runs.py",
    "demo/test_healthy.py",
    "e2e/test_page.py",
    "record/test_lane.py",
    "plugin/test_serving.py",
    "analysis/causes/test_input_shift_recorded.py",
    "analysis/causes/test_over_regularized.py",
    "record/test_kill.py",
    "analysis/causes/test_target_shift.py",
    "analysis/causes/test_overfitting.py",
    "analysis/test_healthy.py",
    "analysis/test_variety.py",
    "demo/test_gallery.py",
    "test_wheel.py",
)
"""Files of about half a minute and more, the longest first: begun late, one of them keeps one core busy and the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    turn = {HERE / name: number for number, name in enumerate(DEAREST)}
    items.sort(key=lambda item: turn.get(item.path, len(turn)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is made here, 10,000 tests and the modules of torch, stays to the end: to look for garbage in it takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


DIAGNOSED = ("analysis", "demo")
"""Folders whose tests ask what is said of a training, and not what it costs to record it."""

SLOWER = 4
"""Times that a machine may be slower than an idle one, for all rows of their short trainings to be read as they are there."""

PLENTY = 1e9


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around fixtures of every scope, which record most trainings: what takes little of a budget on an idle machine is read.

    In the workers of xdist this is called for every test, from whatever folder it is.
    """
    if item.path.relative_to(HERE).parts[0] not in DIAGNOSED:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cadence, "GRANT", SLOWER * cadence.GRANT)
        patch.setattr(cadence, "DEEP_GRANT", SLOWER * cadence.DEEP_GRANT)
        patch.setattr(probe, "ProbeBudget", partial(ProbeBudget, grant=PLENTY))
        patch.setattr(fingerprints, "GRANT", PLENTY)
        patch.setattr(held_out_loss, "GRANT", PLENTY)
        return (yield)
