"""The lens says what it did not read, and names the layers that moved most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tb_losslens import diagnose
from tb_losslens.analysis.lens import lens
from tb_losslens.analysis.per_layer import by_layer
from tb_losslens.store.run import Ragged, Run

RNG = np.random.default_rng(0)
N, LENGTH, AT = 400, 100, 200


def signal(run: Run, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in lens(run, diagnose(run), 1)["signals"] if item["name"] == name)
    return found


@pytest.mark.parametrize(
    ("unread", "said"),
    [
        (slice(AT - 30, AT + 30), "not read here"),
        (slice(AT, AT + 30), "read before the boundary only"),
        (slice(AT - 30, AT), "read after the boundary only"),
    ],
)
def test_a_signal_that_was_not_read_there_did_not_move_there(unread: slice, said: str) -> None:
    values = RNG.normal(1.0, 0.01, N)
    values[AT:] += 1.0  # it is another one before and after, and nobody knows where that happened
    values[unread] = np.nan
    run = Run.from_arrays(loss=RNG.normal(1.0, 0.1, N), epoch_length=LENGTH, grad_norm=values, weight_norm=np.round(values))
    for name in ("grad_norm", "weight_norm"):
        found = signal(run, name)
        assert (found["said"], found["moved"], found["z"]) == (said, False, None)


@pytest.mark.parametrize(("beyond", "said"), [(2, "not read right before it"), (30, "read after the boundary only")])
def test_what_was_read_far_from_the_boundary_alone_says_nothing_of_it(beyond: int, said: str) -> None:
    """One reading `beyond` the window that is compared, inside of what is drawn or outside, and all after the boundary."""
    loss = RNG.normal(1.0, 0.1, N)
    m = diagnose(Run.from_arrays(loss=loss, epoch_length=LENGTH)).boundaries[1].m
    values = RNG.normal(1.0, 0.01, N)
    values[AT:] += 1.0
    values[AT - m - beyond + 1 : AT] = np.nan
    found = signal(Run.from_arrays(loss=loss, epoch_length=LENGTH, grad_norm=values), "grad_norm")
    assert (found["said"], found["moved"], found["z"]) == (said, False, None)


def test_a_signal_that_was_read_beside_the_boundary_moved_there() -> None:
    values = RNG.normal(1.0, 0.01, N)
    values[AT:] += 1.0
    values[1::3] = np.nan  # every third batch only
    run = Run.from_arrays(loss=RNG.normal(1.0, 0.1, N), epoch_length=LENGTH, weight_norm=np.round(values))
    assert signal(run, "weight_norm")["moved"]


def layered(moving: dict[int, float]) -> Run:
    table = RNG.normal(1.0, 0.05, (N, 6))
    for place, by in moving.items():
        table[AT:, place] += by
    run = Run.from_arrays(loss=RNG.normal(1.0, 0.1, N), epoch_length=LENGTH)
    ragged = {"layer_grad_norm": Ragged(table.ravel(), np.arange(0, 6 * N + 1, 6))}
    return replace(run, ragged=ragged, facts={"layers": {"names": [f"layer{i}.weight" for i in range(6)]}})


def test_the_three_layers_that_moved_most_are_named() -> None:
    run = layered({1: 0.5, 2: 3.0, 3: 2.0, 5: 1.0})
    found = [item for item in lens(run, diagnose(run), 1)["signals"] if item["name"].startswith("layer_grad_norm")]
    assert {item["name"] for item in found} == {f"layer_grad_norm.layer{i}.weight" for i in (2, 3, 5)}
    assert all(item["moved"] and item["label"].startswith("grad layer") for item in found)


def test_layers_that_stay_are_not_named() -> None:
    run = layered({})
    assert not [item for item in lens(run, diagnose(run), 1)["signals"] if item["name"].startswith("layer_grad_norm")]


def test_rows_that_were_not_read_are_nan() -> None:
    ragged = Ragged(np.arange(6.0), np.array([0, 2, 2, 4, 6]))
    run = replace(Run.from_arrays(loss=np.ones(4)), ragged={"layer_grad_norm": ragged}, facts={"layers": {"names": ["a", "b"]}})
    names, table = by_layer(run, "layer_grad_norm", 0, 4)
    assert names == ["a", "b"]
    np.testing.assert_array_equal(table, [[0, 1], [np.nan, np.nan], [2, 3], [4, 5]])
    assert by_layer(replace(run, facts={}), "layer_grad_norm", 0, 4)[0] == []
    assert by_layer(run, "bn_mean_gap", 0, 4)[0] == []


def test_a_real_training_has_them(tmp_path: Path) -> None:
    from tests.analysis.small_training import record

    names, table = by_layer(record(tmp_path, epochs=1), "layer_grad_norm", 0, 50)
    assert names == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert np.isfinite(table).any(axis=0).all()
