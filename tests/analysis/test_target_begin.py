"""Where inside an epoch targets began to be others, as the recorder tells it."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.target_begin import began_inside
from tb_losslens.record.signals.fingerprint_table import FingerprintTable
from tb_losslens.store.run import Epoch, Ragged, Run

SIZE, ROWS, SAMPLES = 16, 40, 640


def _run(seed: int, at: int, *, replacement: bool, part: float, other_ids: bool = False) -> tuple[Run, Epoch]:
    """Two epochs; in the second one the targets of a `part` of the samples are others from its row `at` on."""
    rng = np.random.default_rng(seed)
    chosen = rng.random(SAMPLES) < part
    table = FingerprintTable(keep=16)
    told: list[int] = []
    orders = []
    for epoch in range(2):
        order = rng.integers(0, SAMPLES, SAMPLES) if replacement else rng.permutation(SAMPLES)
        later = (np.arange(len(order)) >= at * SIZE) & (epoch == 1)
        table.reset()
        table.add(order, (1 + (later & chosen[order])).astype(np.uint32))
        told = [change.sample for change in table.changes]
        orders.append((order + 7) % SAMPLES if other_ids else order)
    ids = np.concatenate(orders)
    ragged = Ragged(ids, np.arange(0, len(ids) + 1, SIZE))
    run = Run("run", {"loss": np.ones(2 * ROWS), "step": np.arange(2 * ROWS)}, ragged={"sample_ids": ragged})
    changes = [[one, 1, 2] for one in told]
    fields = {"targets_compared": table.compared, "targets_changed": table.changed, "target_changes": changes}
    return run, Epoch(1, ROWS, 2 * ROWS, fields=fields)


@pytest.mark.parametrize("part", [0.25, 1.0])
@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_batch_at_which_it_began(seed: int, *, replacement: bool, part: float) -> None:
    """A sampler that draws with replacement brings samples of that batch earlier in the epoch as well, unchanged."""
    run, epoch = _run(seed, 17, replacement=replacement, part=part)
    row = began_inside(run, epoch)
    assert row is not None
    assert 0 <= row - (ROWS + 17) <= (0 if part == 1 else 1)


@pytest.mark.parametrize("replacement", [False, True])
def test_from_the_first_batch_on_it_is_the_epoch(*, replacement: bool) -> None:
    run, epoch = _run(0, 0, replacement=replacement, part=0.5)
    assert began_inside(run, epoch) is None


@pytest.mark.parametrize("replacement", [False, True])
def test_ids_that_stand_for_others_tell_nothing(*, replacement: bool) -> None:
    run, epoch = _run(0, 17, replacement=replacement, part=0.5, other_ids=True)
    assert began_inside(run, epoch) is None


def test_samples_that_were_not_compared_may_have_come_before() -> None:
    run, epoch = _run(0, 17, replacement=False, part=1.0)
    epoch.fields["fingerprinted_batches"] = 30
    assert began_inside(run, epoch) is None
