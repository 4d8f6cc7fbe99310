"""For all tests: which come first, and what is not searched for garbage."""

from __future__ import annotations

import gc
from collections.abc import Generator
from pathlib import Path

import pytest

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
