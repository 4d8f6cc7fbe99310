"""One number of each layer by batch."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from tb_losslens.analysis.layer_map import layer_map, said
from tb_losslens.analysis.per_layer import by_layer
from tb_losslens.store.run import Ragged, Run


def run_of(table: np.ndarray, every: int, names: list[str]) -> Run:
    """Layer norms `table`, shape (n, layers), of which every `every`-th row was read."""
    n = len(table)
    read = np.arange(n) % every == 0
    offsets = np.concatenate([[0], np.cumsum(np.where(read, table.shape[1], 0))]).astype(np.int64)
    ragged = {"layer_grad_norm": Ragged(table[read].reshape(-1), offsets)}
    plain = Run.from_arrays(loss=np.ones(n), epoch_length=100)
    return Run("run", plain.columns, ragged, facts={"layers": names})


def test_cells_are_the_means_of_what_a_loop_reads() -> None:
    table = np.random.default_rng(0).random((1000, 3))
    table[40, 1] = np.nan
    run = run_of(table, 8, ["a", "b", "c"])
    found = layer_map(run, "layer_grad_norm", 100, 900, columns=10)
    _, read = by_layer(run, "layer_grad_norm", 100, 900)
    edges = [*found.batch.tolist(), 900]
    for column, (a, b) in enumerate(itertools.pairwise(edges)):
        np.testing.assert_allclose(found.cells[:, column], np.nanmean(read[a - 100 : b - 100], axis=0))
    assert found.read == np.isfinite(read).any(axis=1).sum() == 100
    assert len(found.batch) <= 10
    assert (found.batch % 8 == 0).all()


def test_what_was_read_rarely_makes_few_columns() -> None:
    found = layer_map(run_of(np.ones((1000, 2)), 250, ["a", "b"]), "layer_grad_norm", 0, 1000)
    assert found.batch.tolist() == [0, 250, 500, 750]
    assert said(found).startswith("Largest: a (median 1).")


def test_of_many_layers_those_that_change_most_are_kept() -> None:
    table = np.ones((400, 300))
    table[:, 200:260] = np.exp(np.random.default_rng(1).normal(0, 1, (400, 60)))
    found = layer_map(run_of(table, 1, [f"layer {k}" for k in range(300)]), "layer_grad_norm", 0, 400, rows=60)
    assert found.names == [f"layer {k}" for k in range(200, 260)]
    assert found.layers == 300


def test_the_layer_that_changed_most_is_named() -> None:
    table = np.ones((400, 3)) * [1.0, 5.0, 0.01]
    table[200:, 2] *= 30
    told = said(layer_map(run_of(table, 2, ["a", "b", "c"]), "layer_grad_norm", 0, 400))
    assert "Largest: b (median 5); smallest: c" in told
    assert "c changed most: 0.01 to 0.3 (×30)" in told


def test_a_layer_whose_gradient_dies_is_named_and_kept() -> None:
    table = np.ones((200, 3)) * [1.0, 0.9, 1.0]
    table[100:, 2] = 0.0
    table[100:, 0] *= 1.5
    assert "c changed most: 1 to 0." in said(layer_map(run_of(table, 1, ["a", "b", "c"]), "layer_grad_norm", 0, 200))
    assert "c changed most: 0 to 1." in said(layer_map(run_of(table[::-1], 1, ["a", "b", "c"]), "layer_grad_norm", 0, 200))
    many = np.ones((200, 200))
    many[:, :150] += 0.3 * np.random.default_rng(0).random((200, 150))
    many[100:, 199] = 0.0
    assert "layer 199" in layer_map(run_of(many, 1, [f"layer {k}" for k in range(200)]), "layer_grad_norm", 0, 200).names
    nothing = run_of(np.zeros((200, 200)), 1, [f"layer {k}" for k in range(200)])
    assert said(layer_map(nothing, "layer_grad_norm", 0, 200)) == "Largest: layer 0 (median 0)."


def test_a_layer_that_was_infinite_is_named_and_kept() -> None:
    table = 1 + np.random.default_rng(0).random((200, 200))
    table[:, 199] = 1.0
    table[50, 199] = np.inf
    found = layer_map(run_of(table, 1, [f"layer {k}" for k in range(200)]), "layer_grad_norm", 0, 200)
    assert "layer 199" in found.names
    assert "Infinite at times: layer 199." in said(found)
    assert said(layer_map(run_of(np.full((50, 1), np.inf), 1, ["a"]), "layer_grad_norm", 0, 50)) == "Infinite at times: a."


@pytest.mark.parametrize(
    "run",
    [
        Run("empty"),
        Run.from_arrays(loss=np.ones(5)),
        run_of(np.full((50, 2), np.nan), 5, ["a", "b"]),
        run_of(np.ones((50, 2)), 5, ["a", "b", "one too many"]),
    ],
)
def test_where_nothing_was_read_nothing_is_said(run: Run) -> None:
    found = layer_map(run, "layer_grad_norm", 0, len(run))
    assert said(found) == ""
    assert found.cells.shape[0] == len(found.names)


def test_a_million_batches(capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(np.random.default_rng(0).random((1_000_000, 20)).astype(np.float32), 20, [str(k) for k in range(20)])
    start = time.perf_counter()
    said(layer_map(run, "layer_grad_norm", 0, 1_000_000))
    with capsys.disabled():
        print(f"\n50,000 rows of 20 layers in a million batches: {1000 * (time.perf_counter() - start):.0f} ms")
