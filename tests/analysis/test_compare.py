"""Runs side by side."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.compare import Summary, differing, said, summary, swept
from tb_losslens.analysis.run_settings import settings, shown
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
    assert found["config.note"] == "x" * 100  # only what is shown of it is cut
    assert shown([found["config.note"]]) == ["x" * 59 + "…"]
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


def test_of_two_numbers_none_was_swept() -> None:
    runs = [settings(facts(size, lr)) for size, lr in ((16, 0.1), (32, 0.2), (64, 0.1), (128, 0.3))]
    assert swept(runs, differing(runs)) is None
    runs = [settings(facts(size, 0.1, dropout=size > 16 and 0.5)) for size in (16, 32, 64)]
    assert swept(runs, differing(runs)) is None  # one that only some runs have as a number
    runs = [settings(facts(size, 0.1, mode=mode)) for size, mode in ((16, "a"), (32, "b"), (64, "c"))]
    assert swept(runs, differing(runs)) == "config.batch_size"


def test_a_seed_is_not_what_was_swept() -> None:
    runs = [settings(facts(32, lr, seed=3 * k + at)) for k, lr in enumerate((0.1, 0.2, 0.3)) for at in range(3)]
    assert differing(runs) == ["config.seed", "optimizer.defaults.lr"]
    assert swept(runs, differing(runs)) == "optimizer.defaults.lr"
    runs = [settings(facts(32, 0.1, data_seed=seed, random_state=-seed)) for seed in range(3)]
    assert swept(runs, differing(runs)) is None


def test_long_texts_are_compared_whole_and_shown_where_they_part() -> None:
    path = "/data/experiments/vision/2024/a-subset-of-images/preprocessed/" * 60
    values = [settings({"config": {"data": path + end}}) for end in ("first", "second")]
    assert differing(values) == ["config.data"]
    short = [settings({"config": {"data": path[:80] + end}})["config.data"] for end in ("first", "second")]
    a, b = map(str, shown(short))
    assert (a[-5:], b[-6:], len(a) <= 60) == ("first", "second", True)
    assert shown(["a", 1, None]) == ["a", 1, None]


def test_a_whole_number_is_the_same_with_a_point_and_true_is_no_number() -> None:
    assert differing([settings(facts(32, lr)) for lr in (1, 1.0)]) == []
    assert differing([settings(facts(32, lr)) for lr in (1, True)]) == ["optimizer.defaults.lr"]
    assert differing([settings(facts(32, lr)) for lr in (np.nan, np.nan)]) == []


def test_settings_of_any_size_are_no_error() -> None:
    deep: dict[str, Any] = {}
    within: list[Any] = []
    at, inside = deep, within
    for _ in range(5000):
        at["a"] = {}
        inside.append([])
        at, inside = at["a"], inside[0]
    sizes = [10**400, 10**400 + 1, 10**9000]
    runs = [settings({"config": {"n": n, "deep": deep, "list": within, "k" * 10**6: 1}}) for n in sizes]
    assert differing(runs) == ["config.n"]
    assert swept(runs, differing(runs)) is None
    assert len(json.dumps(runs)) < 10_000
    assert len(settings({"config": {str(k): k for k in range(9000)}})) == 2000


def test_thousands_of_settings_take_no_time() -> None:
    def labelled(k: int, size: int) -> dict[str, Any]:
        names = {str(at): f"class {at + k}" for at in range(size)}
        layers = {f"{at // 50}": {} for at in range(size)}
        for at in range(size):
            layers[f"{at // 50}"][f"{at}"] = {"dim": at + k}
        return settings({"config": {"id2label": names, "layers": layers, "lr": 0.1 * k}})

    runs = [labelled(k, 2000) for k in range(24)]
    start = time.perf_counter()
    found = differing(runs, most=4000)
    assert time.perf_counter() - start < 3.0
    assert {"config.id2label", "config.layers.0.0.dim", "config.layers.39.1996.dim"} <= set(found)  # the names as one


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
    both = [Summary({}, last=last) for last in (1.0, 3.0, 7.0)]
    assert "from 2 to 7" in said(["benign"] * 3, [], "config.lr", [0.1, 0.1, 0.3], both)  # of runs at one end the mean
    assert said(["benign"] * 3, [], "config.lr", [1, 2, 3], [Summary({})] * 3) == (
        "3 runs, none with a fault. No recorded setting differs."
    )
    assert said(["benign"], [], None, [], summaries[:1]) == "1 run, none with a fault."
    assert "No recorded setting differs" in said(["benign"] * 2, [], None, [], summaries[:2])


@pytest.mark.parametrize("run", [Run("empty"), Run.from_arrays(loss=[1.0]), Run.from_arrays(loss=[np.nan] * 9, epoch_length=3)])
def test_little_is_no_error(run: Run) -> None:
    found = summary(run)
    assert np.isnan(found.noise)
    json.dumps(dict(found.settings))
