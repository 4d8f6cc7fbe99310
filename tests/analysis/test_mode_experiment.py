"""The probe beside a mode that was not set back: how much of the jump the mode alone makes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import wrong_mode
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.probe_looks import looks, moves
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import findings
from tests.toys import dataset


@cache
def trained(validate_in: str) -> Run:
    """3 epochs with BatchNorm that lags behind."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset("gaussian")
    model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64, momentum=0.003), nn.ReLU(), nn.Linear(64, 10))
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(model, optimizer, criterion=criterion)
            writer.set_probe(train_batch=(x[:256], y[:256]), heldout_batch=(held_x[:256], held_y[:256]))
            loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
            held_out = writer.wrap(DataLoader(TensorDataset(held_x, held_y), batch_size=100), split="val")
            for _ in range(3):
                model.train()
                for inputs, targets in loader:
                    optimizer.zero_grad()
                    loss = criterion(model(inputs), targets)
                    loss.backward()
                    optimizer.step()
                    writer.log_batch(loss)
                model.train(validate_in == "train")
                with torch.no_grad():
                    writer.log_validation(sum(criterion(model(a), b).item() for a, b in held_out) / len(held_out))
        return load_runs(Path(directory))["."]


def left_in_eval(evaluated: float, batch: float, *, dropout: int = 0) -> Run:
    """8 epochs of 50 batches; from row 200 on in evaluation mode, where the loss jumps by 0.5, and what the probe measured."""
    loss = 1 + 0.05 * np.random.default_rng(0).normal(size=400)
    loss[200:] += 0.5
    run = Run.from_arrays(loss=loss, train_mode=(np.arange(400) < 200).astype(float), epoch_length=50)
    fields = {"when": "t1", "train_eval": evaluated, "train_batchstat": batch}
    facts = {"model": {"dropout": dropout, "batchnorm": 2}}
    return replace(run, events=(RunEvent("probe", 200, 200, fields=fields),), facts=facts)


def of_training(run: Run) -> Finding:
    (finding,) = findings(wrong_mode, run)
    assert (finding.detail, finding.boundaries, finding.explains_jump) == ("training_in_eval", (3,), True)
    return finding


def experiments(lines: tuple[Evidence, ...]) -> list[str]:
    return [str(line) for line in lines if line.startswith("by experiment")]


def test_the_share_of_the_jump_is_that_of_the_same_batch() -> None:
    finding = of_training(left_in_eval(1.4, 1.0))
    assert finding.share == pytest.approx(0.8, abs=0.1)
    (said,) = experiments(finding.evidence)
    assert "moves the loss of the same training batch by +0.40 (1 boundary)" in said
    assert said.endswith(f"{100 * finding.share:.0f}\u202f% of the jump")


def test_a_mode_that_alone_does_nothing_speaks_against_it() -> None:
    finding = of_training(left_in_eval(1.0, 1.02))
    assert experiments(finding.evidence) == []
    (said,) = experiments(finding.against)
    assert said.endswith("0\u202f% of the jump")


def test_with_dropout_the_probe_cannot_stand_for_training() -> None:
    finding = of_training(left_in_eval(1.4, 1.0, dropout=1))
    assert experiments((*finding.evidence, *finding.against)) == []


def test_a_validation_in_training_mode_is_compared_with_the_same_batch_in_evaluation_mode() -> None:
    (finding,) = findings(wrong_mode, trained("train"))
    assert finding.detail == "validation_in_train"
    (said,) = experiments(finding.evidence)
    seen = [one["before_validation"] for row in (50, 100) if "before_validation" in (one := looks(trained("train"))[row])]
    assert any(f"is {f['heldout_eval']:.3g} in evaluation mode and {f['heldout_batchstat']:.3g} with" in said for f in seen)
    assert findings(wrong_mode, trained("eval")) == []


def test_a_batch_without_statistics_of_its_own_is_taken_in_evaluation_mode() -> None:
    fields = [{"when": when, "train_eval": value, "train_batchstat": None} for when, value in (("t0", 1.0), ("t1", 1.5))]
    run = Run("run", events=tuple(RunEvent("probe", 10, fields=one) for one in fields))
    assert moves(run, [10, 20]) == [0.5]
    assert moves(run, [10], last="u1") == []
