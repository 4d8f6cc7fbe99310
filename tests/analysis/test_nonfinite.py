"""A loss that is not finite: samples that make it so in each epoch, and a loss that never was finite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tb_losslens.analysis.causes import bad_batch
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.nonfinite import recurring_nonfinite
from tb_losslens.store.run import Run
from tests.analysis.contexts import findings
from tests.analysis.recorded import record

NAN = float("nan")


def spoiled(broken: set[int], spoil: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Any:
    return lambda i, x, y: spoil(x, y) if i in broken else (x, y)


def one_element(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone()
    x[5] = float("inf")
    return x, y


@pytest.mark.parametrize(
    ("options", "broken", "spoil", "strength"),
    [
        ({"data": "digits"}, {137}, lambda x, y: (x * NAN, y), "proved"),
        ({"data": "digits", "model": "cnn", "optimizer": "momentum", "lr": 0.05}, {137, 600}, one_element, "proved"),
        ({"data": "regression"}, {77}, lambda x, y: (x, y * NAN), "likely"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_samples_that_spoil_a_guarded_training_are_named(
    tmp_path: Path, options: dict[str, Any], broken: set[int], spoil: Any, strength: str, seed: int
) -> None:
    run = record(tmp_path, **options, change=spoiled(broken, spoil), skip_nonfinite=True, seed=seed)
    (finding,) = findings(bad_batch, run)
    assert (finding.detail, finding.strength) == ("nonfinite", strength)
    assert f"for i in {sorted(broken)}" in finding.fix
    assert "Recurring sample" in finding.title
    assert "in 8 of 8 epochs" in finding.text
    assert " 1 elements" not in " ".join([finding.text, *finding.evidence])
    assert set(finding.steps) <= {int(s) for s in run.step[~np.isfinite(run.loss)]}
    assert "8 of 8 epochs" in diagnose(run).verdict


def test_the_healthy_twin_has_none(tmp_path: Path) -> None:
    assert findings(bad_batch, record(tmp_path, skip_nonfinite=True)) == []


@pytest.mark.parametrize("shuffle", [True, False])
def test_losses_that_were_not_recorded_know_no_samples(tmp_path: Path, shuffle: bool) -> None:
    """Every tenth is logged, or not the first of an epoch: under a fixed order the same batch each time."""
    run = record(tmp_path, epochs=6, shuffle=shuffle)
    for missing in (np.arange(len(run)) % 10 != 0, run.columns["index"] == 0):
        loss = np.where(missing, np.nan, run.loss)
        assert recurring_nonfinite(replace(run, columns={**run.columns, "loss": loss})) is None


def test_without_ids_the_first_batch_is_named(tmp_path: Path) -> None:
    run = record(tmp_path, change=spoiled({137}, one_element), skip_nonfinite=True)
    (finding,) = findings(bad_batch, replace(run, ragged={}))
    assert "its inputs hold 1 element that" in " ".join(finding.evidence)
    assert "its inputs hold 1 element that is not." in finding.text


def all_nan(run: Run) -> str:
    diagnosis = diagnose(run)
    assert "from the first batch on" in diagnosis.verdict
    return diagnosis.verdict


def test_inputs_that_are_never_finite_are_to_check_first(tmp_path: Path) -> None:
    run = record(tmp_path, change=lambda i, x, y: (x * NAN, y), epochs=3)
    verdict = all_nan(run)
    assert "Fault, proved" in verdict
    assert "check first the inputs" in verdict


def test_weights_that_are_never_finite_leave_the_inputs_out(tmp_path: Path) -> None:
    net = nn.Linear(64, 10)
    with torch.no_grad():
        net.weight[0, 0] = NAN
    verdict = all_nan(record(tmp_path, model=net, epochs=3))
    assert "Fault, possible" in verdict
    assert "check first the targets and the weights" in verdict
    assert "number format" in verdict
    assert "LR" in verdict


def test_a_loss_that_the_first_update_breaks_asks_for_the_lr(tmp_path: Path) -> None:
    run = record(tmp_path, optimizer="sgd", lr=1e30, epochs=3)
    diagnosis = diagnose(run)
    assert "check the LR first" in diagnosis.verdict
    assert not [f for f in diagnosis.findings if f.cause == "bad_batch"]
