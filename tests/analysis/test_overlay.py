"""Epochs laid over each other."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tb_losslens.analysis.overlay import overlay
from tb_losslens.store.run import Run


def test_short_epochs_are_shown_batch_by_batch() -> None:
    loss = np.arange(55.0)
    out = overlay(Run.from_arrays(loss=loss, epoch_length=20))
    assert out["position"] == list(range(20))
    assert out["epoch"] == [0, 1, 2]
    assert out["batches"] == 20
    assert out["columns"][1] == loss[20:40].tolist()
    assert out["columns"][2] == [*loss[40:].tolist(), *[None] * 5]


def test_long_epochs_are_means_of_equal_buckets() -> None:
    loss = np.random.default_rng(0).random(3000)
    out = overlay(Run.from_arrays(loss=loss, epoch_length=1000), 100)
    assert out["position"] == list(range(0, 1000, 10))
    assert np.allclose(out["columns"], loss.reshape(3, 100, 10).mean(axis=2))


def test_many_epochs_keep_the_first_and_the_last() -> None:
    out = overlay(Run.from_arrays(loss=np.ones(1000), epoch_length=10))
    assert len(out["epoch"]) == len(out["columns"]) == 40
    assert (out["epoch"][0], out["epoch"][-1]) == (0, 99)


@pytest.mark.parametrize("run", [Run("empty"), Run.from_arrays(loss=np.ones(5))])
def test_without_epochs_there_is_nothing_to_lay(run: Run) -> None:
    assert overlay(run) == {"position": [], "epoch": [], "columns": [], "batches": 0}


def test_gaps_are_null() -> None:
    out = overlay(Run.from_arrays(loss=np.array([1.0, np.nan, np.inf, 4.0]), epoch_length=2))
    assert out["columns"] == [[1.0, None], [None, 4.0]]
    json.dumps(out, allow_nan=False)
