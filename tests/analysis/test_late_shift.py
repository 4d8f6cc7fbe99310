"""Inputs that change while the recorder reads next to nothing, on a real network with BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tb_losslens.analysis.causes import input_shift
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, outcomes, skipped
from tests.trainings import train


@cache
def trained(factor: float) -> Run:
    """Inputs are scaled and moved from epoch 5 on in training only."""
    return train(
        model="batchnorm",
        epochs=12,
        lr=0.05,
        change_inputs=lambda x, _step, epoch: x if epoch < 5 or factor == 1 else factor * x - factor / 2,
    )


def sparse(run: Run, rows: Sequence[int], *, since: int = 5) -> Run:
    """The run as if from epoch `since` on inputs had been read at `rows` of (epoch, index) only."""
    kept = np.arange(len(run)) < run.epochs[since].first
    kept[list(rows)] = True
    columns = {k: np.where(kept, v, np.nan) if k.startswith("input_") else v for k, v in run.columns.items()}
    return replace(run, columns=columns, ragged={k: v for k, v in run.ragged.items() if not k.startswith("input_")})


def rows_of(run: Run, *epochs: int) -> list[int]:
    return [run.epochs[epoch].first + 1 for epoch in epochs]


@pytest.mark.parametrize("epochs", [(5, 10), (5, 7, 8)])
def test_two_batches_far_off_are_a_shift_that_only_the_validation_shows(epochs: tuple[int, ...]) -> None:
    run = trained(10.0)
    (finding,) = findings(input_shift, sparse(run, rows_of(run, *epochs)))
    assert (finding.kind, finding.boundaries) == ("fault", (4,))
    assert any("the validation loss goes from" in line for line in finding.evidence)


def test_the_healthy_twin_with_as_few_is_fine() -> None:
    run = trained(1.0)
    assert "not for good" in checked(input_shift, sparse(run, rows_of(run, 5, 11)))
    assert "not checked in epochs 6 to 9 and 11" in skipped(input_shift, sparse(run, rows_of(run, 5, 10))).why


def test_one_batch_alone_may_be_a_bad_one() -> None:
    run = trained(10.0)
    assert findings(input_shift, sparse(run, rows_of(run, 5))) == []


def test_batches_of_one_epoch_may_be_a_bad_span() -> None:
    run = trained(10.0)
    assert findings(input_shift, sparse(run, [run.epochs[5].first + k for k in range(3)])) == []


def test_batches_that_differ_from_each_other_have_no_level() -> None:
    run = trained(10.0)
    few = sparse(run, rows_of(run, 5, 10))
    mean, std = few.float("input_mean").copy(), few.float("input_std").copy()
    row = rows_of(run, 10)[0]
    mean[row], std[row] = mean[0], std[0]
    assert not [
        o
        for o in outcomes(input_shift, replace(few, columns={**few.columns, "input_mean": mean, "input_std": std}))
        if hasattr(o, "kind")
    ]
