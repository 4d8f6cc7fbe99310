"""The time since samples were seen against a slow count, and its effect against one that was put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.revisits import gap_effect, revisits
from tb_losslens.store.run import Ragged, Run

SIZE, BATCH, EPOCHS = 320, 8, 10


def a_run(*, slope: float = 0.0, seed: int = 0, replacement: bool = False, sparse: int = 1, single: bool = False) -> Run:
    rng = np.random.default_rng(seed)
    orders = [rng.integers(0, SIZE, SIZE) if replacement else rng.permutation(SIZE) for _ in range(EPOCHS)]
    ids = np.concatenate(orders) * sparse
    gap, seen = np.full(len(ids), np.nan), {}
    for at, name in enumerate(ids.tolist()):
        row = at // BATCH
        gap[at] = (row - seen[name]) * BATCH / SIZE if name in seen else np.nan
        seen[name] = row
    losses = 1 + slope * np.nan_to_num(gap, nan=1.0) + 0.2 * rng.normal(size=len(ids))
    offsets = np.arange(0, len(ids) + 1, BATCH)
    ragged = {"sample_ids": Ragged(ids, offsets), **({"per_sample": Ragged(losses, offsets)} if single else {})}
    run = Run.from_arrays(loss=losses.reshape(-1, BATCH).mean(axis=1), epoch_length=SIZE // BATCH)
    return replace(run, ragged=ragged)


@pytest.mark.parametrize("sparse", [1, 10**9])
def test_the_gap_is_what_a_slow_count_gives(sparse: int) -> None:
    run = a_run(sparse=sparse)
    found = revisits(run)
    assert found is not None
    seen: dict[int, int] = {}
    lists = run.ragged["sample_ids"]
    for row in range(len(run)):
        here = lists.values[lists.offsets[row] : lists.offsets[row + 1]].tolist()
        gaps = [(row - seen[name]) / 40 if name in seen else np.nan for name in here]
        np.testing.assert_allclose(found.gap[row], np.mean(gaps))
        seen.update(dict.fromkeys(here, row))
    assert found.again == 0
    assert found.apart == pytest.approx(0.875, abs=0.08)


def test_samples_that_come_again_in_an_epoch_are_counted() -> None:
    found = revisits(a_run(replacement=True))
    assert found is not None
    assert found.again == pytest.approx(np.exp(-1), abs=0.03)


@pytest.mark.parametrize("single", [True, False])
def test_the_slope_that_was_put_in(single: bool) -> None:
    for seed in range(5):
        run = a_run(slope=0.4, seed=seed, single=single)
        seen = revisits(run)
        assert seen is not None
        effect = gap_effect(run, seen)
        assert effect is not None
        assert effect.single is single
        assert abs(effect.slope - 0.4) < 4 * effect.error
        assert effect.p < 0.01


def test_without_an_effect_p_is_uniform() -> None:
    p = []
    for seed in range(60):
        run = a_run(seed=seed)
        seen = revisits(run)
        effect = gap_effect(run, seen) if seen is not None else None
        assert effect is not None
        p.append(effect.p)
    assert np.mean(np.array(p) < 0.05) <= 0.15
    assert 0.3 < np.mean(p) < 0.7


def test_one_epoch_tells_nothing() -> None:
    run = a_run()
    assert revisits(replace(run, ragged={})) is None
    assert revisits(Run.from_arrays(loss=np.ones(4), epoch_length=2)) is None
