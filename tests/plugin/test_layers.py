"""What /layers draws where batches were read seldom or not at all."""

from __future__ import annotations

import numpy as np

from tb_losslens.plugin import layers
from tb_losslens.store.run import Ragged, Run


def run_read_at(rows: list[int], n: int) -> Run:
    """Two layers whose norms were read at `rows` of `n` batches."""
    count = np.isin(np.arange(n), rows) * 2
    values = np.tile([1.0, 2.0], len(rows))
    ragged = {"layer_grad_norm": Ragged(values, np.concatenate([[0], np.cumsum(count)]).astype(np.int64))}
    plain = Run.from_arrays(loss=np.ones(n), epoch_length=100)
    return Run("run", plain.columns, ragged, facts={"layers": ["a", "b"]})


def test_a_stretch_that_was_not_read_is_empty() -> None:
    answer = layers.build(run_read_at([*range(0, 400, 10), *range(800, 900, 10)], 1000), "layer_grad_norm", 0, 1000, 160)
    batch, (first, _) = answer["batch"], answer["cells"]
    empty = [at for at, value in enumerate(first) if value is None]
    assert [(batch[at], batch[at + 1] if at + 1 < len(batch) else 1000) for at in empty] == [(400, 800), (900, 1000)]
    assert batch == sorted(batch)
    assert answer["read"] == 50


def test_batches_that_are_read_at_one_distance_leave_nothing_empty() -> None:
    answer = layers.build(run_read_at(list(range(0, 1000, 250)), 1000), "layer_grad_norm", 0, 1000, 160)
    assert answer["batch"] == [0, 250, 500, 750]
    assert answer["cells"][0] == [1.0] * 4


def test_nothing_read_is_nothing_drawn() -> None:
    answer = layers.build(run_read_at([10], 1000), "layer_grad_norm", 500, 1000, 160)
    assert (answer["batch"], answer["read"]) == ([], 0)
