"""Runs side by side."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.compare import Summary, differing, said, settings, summary, swept
from tb_losslens.store.run import Run


def facts(batch_size: int, lr: float, **config: Any) -> dict[str, Any]:
    return {
        "config": {"batch_size": batch_size, **config},
        "loader": {"batch_size": batch_size, "shuffle": True, "batches": 1000 // batch_size},
        "optimizer": {"class": "SGD", "defaults": {"lr": lr, "betas": [0.9, 0.999]}},
        "start": 1.0,
    }


def test_settings_are_flat_and_without_what_is_none() -> None:
    found = settings(facts(32, 0.1, note="x" * 100, nested={"a": [1, 2]}))
    assert found["config.batch_size"] == 32
    assert found["optimizer.defaults.lr"] == 0.1
    assert found["optimizer.defaults.betas"] == "[0.9, 0.999]"
    assert len(str(found["config.note"])) == 60
    assert found["config.nested.a"] == "[1, 2]"
    assert "start" not in found
    assert "loader.batches" not in found


def test_what_differs_is_told_once() -> None:
    runs = [settings(facts(size, 0.1)) for size in (16, 32, 64)]
    assert differing(runs) == ["config.batch_size"]
    assert swept(runs, differing(runs)) == "config.batch_size"
    runs = [settings(facts(32, lr)) for lr in (0.1, 0.01)]
    assert differing(runs) == ["optimizer.defaults.lr"]
    assert swept(runs, differing(runs)) is None  # two are no sweep


def test_a_setting_that_some_have_in_another_place_is_told_once() -> None:
    runs = [settings(facts(size, 0.1)) for size in (16, 32, 64)]
    del runs[1]["config.batch_size"]
    assert differing(runs) == ["loader.batch_size"]
    runs[0]["config.batch_size"] = 999  # and where they do not agree, both are told
    assert differing(runs) == ["config.batch_size", "loader.batch_size"]


def test_of_two_numbers_the_one_that_never_repeats_was_swept() -> None:
    runs = [settings(facts(size, lr)) for size, lr in ((16, 0.1), (32, 0.2), (64, 0.1), (128, 0.3))]
    assert swept(runs, differing(runs)) == "config.batch_size"
    runs = [settings(facts(size, lr)) for size, lr in ((16, 0.1), (32, 0.2), (64, 0.3))]
    assert swept(runs, differing(runs)) is None
    runs = [settings(facts(size, 0.1, mode=mode)) for size, mode in ((16, "a"), (32, "b"), (64, "c"))]
    assert swept(runs, differing(runs)) == "config.batch_size"


def test_a_summary_tells_of_the_last_whole_epoch() -> None:
    rng = np.random.default_rng(0)
    loss = np.concatenate([rng.normal(5, 1, 300), rng.normal(2, 0.5, 100), rng.normal(90, 1, 20)])
    found = summary(Run.from_arrays(loss=loss, epoch_length=100))
    assert found.last == pytest.approx(loss[300:400].mean())
    assert found.noise == pytest.approx(0.5, rel=0.3)
    assert len(found.share) == len(found.loss) <= 60
    assert found.share[0] == 0


def test_a_sweep_is_told_from_end_to_end() -> None:
    summaries = [Summary({}, last=value, noise=value / 10) for value in (3.0, 1.0, 2.0)]
    told = said(["fault", "benign", "pending"], ["config.lr"], "config.lr", [0.3, 0.1, 0.2], summaries)
    assert told.startswith("3 runs, 1 with a fault, 1 not diagnosed yet. They differ in lr. From lr 0.1 to 0.3 ")
    assert told.endswith("the loss of the last epoch goes from 1 to 3, its noise goes from 0.1 to 0.3.")
    assert said(["benign"], [], None, [], summaries[:1]) == "1 run, none with a fault."
    assert "No recorded setting differs" in said(["benign"] * 2, [], None, [], summaries[:2])


@pytest.mark.parametrize("run", [Run("empty"), Run.from_arrays(loss=[1.0]), Run.from_arrays(loss=[np.nan] * 9, epoch_length=3)])
def test_little_is_no_error(run: Run) -> None:
    found = summary(run)
    assert np.isnan(found.noise)
    json.dumps(dict(found.settings))
