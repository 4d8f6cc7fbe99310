"""The first batch without a finite loss: proved by its inputs, possible without, and none where the loss was not recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.causes import bad_batch
from tests.analysis.causes.test_bad_batch import between
from tests.analysis.contexts import checked, findings
from tests.trainings import train


@pytest.mark.parametrize(("model", "data"), [("mlp", "digits"), ("cnn", "digits"), ("linear", "regression")])
def test_the_first_nan_is_named(model: str, data: str) -> None:
    run = train(model=model, data=data, lr=0.05, change_inputs=between(203, 203, lambda x: x * float("nan")))
    finding = findings(bad_batch, run)[0]
    assert (finding.detail, finding.strength, finding.steps) == ("nonfinite", "proved", (203,))
    assert any("the weights are lost" in line for line in finding.evidence)
    assert finding.fix.startswith("# load a state from before step 203")


def test_a_nan_loss_of_finite_inputs_is_possible_only() -> None:
    run = train(data="regression", lr=0.01, change_targets=between(150, 150, lambda y: y * float("inf")))
    finding = next(f for f in findings(bad_batch, run) if f.detail == "nonfinite")
    assert (finding.strength, finding.steps) == ("possible", (150,))
    assert any("inputs of that batch are finite" in line for line in finding.against)


@pytest.mark.parametrize("rows", [range(5), range(0, 500, 10), [-1]])
def test_a_loss_that_was_not_recorded_is_not_a_loss_that_is_not_finite(rows: Any) -> None:
    """Before the logger is found, in batches between two logged ones, and in the batch where a loop was interrupted."""
    run = train(data="gaussian", lr=0.05)
    loss = run.loss.copy()
    loss[list(rows)] = np.nan
    assert "no batch stands apart" in checked(bad_batch, replace(run, columns={**run.columns, "loss": loss}))


def test_an_infinite_loss_in_the_last_batch_counts() -> None:
    run = train(data="gaussian", lr=0.05)
    loss = run.loss.copy()
    loss[-1] = np.inf
    (finding,) = findings(bad_batch, replace(run, columns={**run.columns, "loss": loss}))
    assert (finding.detail, finding.steps) == ("nonfinite", (len(run) - 1,))


def test_divergence_is_no_bad_batch() -> None:
    run = train(data="gaussian", optimizer="sgd", lr=150.0)
    assert "it diverged" in checked(bad_batch, run)
