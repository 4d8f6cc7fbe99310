"""Recordings that are broken, odd, or full of holes: a diagnosis comes out, without a warning, and no cause fails."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.lens import lens
from tb_losslens.analysis.overlay import overlay
from tb_losslens.store.run import Gap, Ragged, Run
from tests.trainings import train

ALWAYS = ("step", "epoch", "index", "time", "loss", "batch_size")


@cache
def trained() -> Run:
    return train(epochs=5, drop_last=False, per_sample=True)


def rows() -> NDArray[np.int64]:
    return np.arange(len(trained()))


def columns(**other: Any) -> Run:
    return replace(trained(), columns={**trained().columns, **other})


def known_where(kept: NDArray[np.bool_], *, loss: bool) -> Run:
    """Columns beside those that every batch has are NaN elsewhere; so is the loss, if it is one of them."""
    always = {*ALWAYS} - ({"loss"} if loss else set())
    return columns(**{k: np.where(kept, v, np.nan) for k, v in trained().columns.items() if k not in always})


def classes(lists: list[Any]) -> Run:
    return replace(trained(), ragged={**trained().ragged, "classes": Ragged.from_lists(lists)})


def of_changing_length() -> Run:
    rng = np.random.default_rng(0)
    epoch = np.repeat(np.arange(60), rng.integers(1, 12, 60))
    return Run.from_arrays(loss=rng.random(len(epoch)), epoch=epoch, batch_size=rng.integers(1, 64, len(epoch)))


def many_classes() -> Run:
    rng = np.random.default_rng(1)
    return classes([np.stack([rng.integers(0, 100_000, 32), np.ones(32, int)], axis=1) for _ in rows()])


SESSIONS = (
    {"id": "a", "first_step": 0, "start": 1.0},
    {"id": "b", "first_step": 100, "start": 1e9 + 100},
    {"id": "without a batch", "first_step": None, "last_step": None, "start": 1e9 + 101},
    {"id": "without a start", "first_step": None, "start": None},
)
RUNS: dict[str, Callable[[], Run]] = {
    "gaps": lambda: replace(trained(), gaps=(Gap(0, 3), Gap(20, 5), Gap(50, 400), Gap(130, 1), Gap(len(trained()), 7))),
    "a gap every third batch": lambda: replace(trained(), gaps=tuple(Gap(row, 1) for row in rows()[::3].tolist())),
    "each step twice": lambda: columns(step=rows() // 2),
    "one step": lambda: columns(step=np.zeros_like(rows())),
    "huge steps": lambda: columns(step=rows() * 10**15),
    "nothing is known in the middle": lambda: known_where((rows() < 60) | (rows() > 110), loss=True),
    "nothing is known at first": lambda: known_where(rows() > 30, loss=True),
    "columns that start late": lambda: known_where(rows() > 150, loss=False),
    "columns that end early": lambda: known_where(rows() < 100, loss=False),
    "one class": lambda: classes([np.array([[3, 32]])] * len(trained())),
    "100,000 classes": many_classes,
    "epochs of changing length": of_changing_length,
    "one batch an epoch": lambda: columns(epoch=rows(), index=np.zeros_like(rows())),
    "epochs that are not known": lambda: columns(epoch=np.where(rows() % 7, trained().columns["epoch"], -1)),
    "epochs that count down": lambda: columns(epoch=trained().columns["epoch"][::-1].copy()),
    "a clock that goes back": lambda: columns(time=1e9 - rows() * 1.0),
    "events of a clock that goes back": lambda: replace(
        trained(), events=tuple(replace(e, time=1e9 - e.batch) for e in trained().events)
    ),
    "events in the wrong order": lambda: replace(trained(), events=trained().events[::-1]),
    "events behind the end": lambda: replace(trained(), events=tuple(replace(e, batch=10_000) for e in trained().events)),
    "sessions without a batch": lambda: replace(trained(), sessions=SESSIONS),
    "batches without samples": lambda: columns(batch_size=np.zeros_like(rows())),
    "a negative LR": lambda: columns(lr=-trained().float("lr")),
    "a loss near the smallest number": lambda: columns(loss=trained().loss * 5e-324),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_diagnosis_comes_out(name: str) -> None:
    run = RUNS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnosis = diagnose(run)
        json.dumps([diagnosis.to_dict(), overlay(run)], allow_nan=False)
        for boundary in diagnosis.boundaries[:2]:
            json.dumps(lens(run, diagnosis, boundary.index), allow_nan=False)
    assert diagnosis.headline
    assert [one.why for one in diagnosis.skipped if one.why.startswith("failed")] == []
