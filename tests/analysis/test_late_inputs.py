"""Inputs that were read of batches with an unusual loss only, after a change that stays, on a real network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tb_losslens.analysis.causes import bad_batch, input_shift
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.analysis.test_late_shift import sparse, trained


def by_loss(run: Run, rows: list[int]) -> Run:
    """The run as if from epoch 5 on only `rows` had been read, each because its loss was unusual."""
    left = sparse(run, rows)
    dense = left.float("dense").copy()
    dense[run.epochs[5].first :] = 0.0
    dense[rows] = 3.0
    return replace(left, columns={**left.columns, "dense": dense})


@pytest.mark.parametrize("count", [6, 12])
def test_the_first_batches_of_a_change_are_no_bad_ones(count: int) -> None:
    """Nothing tells that the inputs came back to what they were; nor that they stay."""
    run = trained(10.0)
    start = run.epochs[5].first
    seen = by_loss(run, list(range(start, start + count)))
    assert findings(bad_batch, seen) == []
    (finding,) = findings(input_shift, seen)
    assert (finding.kind, finding.strength, finding.boundaries) == ("fault", "possible", (4,))
    assert any(f"{count} of {len(run) - start} batches were read since" in line for line in finding.evidence)


def test_batches_chosen_for_their_loss_in_the_midst_of_an_epoch_are_no_shift() -> None:
    """Of rare bad batches just the bad ones would be read."""
    run = trained(10.0)
    rows = [run.epochs[epoch].first + at for epoch, at in ((5, 3), (5, 9), (6, 4), (7, 6), (8, 2), (9, 3))]
    seen = by_loss(run, rows)
    assert findings(bad_batch, seen) == []
    assert "not checked in epochs 5 to 11" in skipped(input_shift, seen).why


def test_the_healthy_twin_says_which_epochs_were_not_read() -> None:
    run = trained(1.0)
    start = run.epochs[5].first
    assert "not checked in epochs 5 to 11" in skipped(input_shift, by_loss(run, [start, start + 1])).why
    assert "not checked" not in checked(input_shift, run)
