"""Samples that stand behind high losses: a level that is kept by chance alone, planted ones, and two wrong labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tb_losslens.analysis.causes import bad_batch
from tb_losslens.analysis.sample_test import standing_behind
from tb_losslens.store.run import Ragged, Run
from tests.analysis.contexts import checked
from tests.analysis.recorded import record


def drawn(seed: int, *, planted: float = 0.0, fixed: bool = False, epochs: int = 16) -> Run:
    """500 samples in batches of 16, the last of 4; heavy-tailed losses, to which sample 17 adds `planted` sigma."""
    rng = np.random.default_rng(seed)
    first = rng.permutation(500)
    rows = [part for _ in range(epochs) for part in np.split(first if fixed else rng.permutation(500), np.arange(16, 500, 16))]
    loss = rng.standard_t(3, len(rows)) + 10 + planted * np.array([17 in row for row in rows])
    run = Run.from_arrays(loss=loss, batch_size=np.array([len(row) for row in rows]), epoch_length=32)
    return Run(run.name, run.columns, {"sample_ids": Ragged.from_lists(rows)})


def test_chance_names_none() -> None:
    """One run in a hundred may."""
    assert sum(bool(standing_behind(drawn(seed))) for seed in range(200)) <= 6


def test_a_planted_sample_is_named() -> None:
    found = [tuple(standing_behind(drawn(seed, planted=6.0))) for seed in range(10)]
    assert found.count((17,)) >= 8


def test_a_fixed_order_names_none() -> None:
    """All samples of a batch share its fate then."""
    assert standing_behind(drawn(0, planted=6.0, fixed=True)) == {}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_wrong_label_is_mentioned_and_no_fault(tmp_path: Path, seed: int) -> None:
    change = lambda i, x, y: (x, (y + 3) % 10) if i in (17, 803) else (x, y)  # noqa: E731
    run = record(tmp_path, epochs=24, change=change, seed=seed)
    assert {17, 803} & set(standing_behind(run))
    assert "behind high losses in the later epochs" in checked(bad_batch, run)
    assert "look there" in checked(bad_batch, run)
