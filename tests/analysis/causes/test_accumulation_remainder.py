"""Loops that accumulate gradients, and what they do with the batches that are left at the end of an epoch: recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import accumulation_remainder
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, outcomes
from tests.toys import dataset

EPOCHS = 5


def trained(
    directory: Path, remainder: str, *, batches: int = 50, each: int = 4, optimizer: str = "SGD", lr: float = 0.05
) -> Run:
    """`batches` batches an epoch, a step after `each`.

    Args:
        remainder: what is done with the rest: "carried" nothing, "cleared" at the begin of each epoch, "short" a step of a sum
            that is divided by `each`, "true" one of a mean, "counter" a step whenever `each` have come since the last one,
            "after" a step after the loop.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    made, criterion = getattr(torch.optim, optimizer)(model.parameters(), lr=lr), nn.CrossEntropyLoss()
    full = batches // each * each
    since = 0
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, made, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x[: 32 * batches], y[: 32 * batches]), batch_size=32, shuffle=True))
        for _ in range(EPOCHS):
            if remainder == "cleared":
                made.zero_grad()
            for index, (inputs, targets) in enumerate(loader):
                parts = batches - full if remainder == "true" and index >= full else each
                (criterion(model(inputs), targets) / parts).backward()
                since += 1
                last = remainder in ("short", "true") and index + 1 == batches
                if since % each == 0 if remainder == "counter" else (index + 1) % each == 0 or last:
                    made.step()
                    made.zero_grad()
            if remainder == "after":
                made.step()
                made.zero_grad()
    return load_runs(directory)["."]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize(("batches", "each", "left"), [(50, 4, 2), (47, 8, 7), (49, 2, 1)])
def test_gradients_that_go_over_into_the_next_epoch(tmp_path: Path, batches: int, each: int, left: int, optimizer: str) -> None:
    run = trained(tmp_path, "carried", batches=batches, each=each, optimizer=optimizer, lr=0.005)
    (finding,) = findings(accumulation_remainder, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "carried_over")
    assert finding.boundaries == (0, 1, 2, 3)
    assert finding.steps == tuple(batches * k + each - 1 for k in range(1, EPOCHS))
    assert f"has {each + left} backwards: {each} as any step, and {left}" in finding.evidence[0]
    assert "of norm" in finding.evidence[1]
    assert not finding.explains_jump
    assert f"accumulate, batches = {each}, {batches}" in finding.fix
    assert [f.cause for f in diagnose(run).findings if f.kind == "fault"] == ["accumulation_remainder"]


@pytest.mark.parametrize(("batches", "each"), [(50, 4), (49, 4), (50, 8)])
def test_a_last_step_that_is_divided_by_the_full_number(tmp_path: Path, batches: int, each: int) -> None:
    (finding,) = findings(accumulation_remainder, trained(tmp_path, "short", batches=batches, each=each))
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "likely", "short_step")
    assert finding.steps == tuple(batches * k - 1 for k in range(1, EPOCHS + 1))
    assert not finding.explains_jump


@pytest.mark.parametrize(
    ("remainder", "said"),
    [
        ("cleared", "4 epochs left 2, and they were cleared"),
        ("counter", "2 epochs left 2, and they were cleared, or completed to a full step"),
        ("after", "4 epochs left 2, and a step after the loop took them"),
        ("true", "the last one of 5 epochs 2, and its gradient is not too small"),
    ],
)
def test_what_only_looks_like_it_is_fine(tmp_path: Path, remainder: str, said: str) -> None:
    assert said in checked(accumulation_remainder, trained(tmp_path, remainder))


def test_healthy_twin_is_fine(tmp_path: Path) -> None:
    said = checked(accumulation_remainder, trained(tmp_path, "carried", batches=48))
    assert said == "a step has 4 backwards, and none is left at the end of 5 epochs"


def test_a_step_for_each_batch_is_fine(tmp_path: Path) -> None:
    assert "a step has 1 backward, and none is left" in checked(accumulation_remainder, trained(tmp_path, "carried", each=1))


def test_few_epochs_prove_no_short_step(tmp_path: Path) -> None:
    """Two gradient norms may be small by chance."""
    run = trained(tmp_path, "short")
    events = tuple(e for e in run.events if e.batch <= 100)
    columns = {name: values[:100] for name, values in run.columns.items()}
    two = replace(run, columns=columns, ragged={}, events=events)
    assert findings(accumulation_remainder, two) == []


def test_counts_without_a_rule_are_not_judged(tmp_path: Path) -> None:
    run = trained(tmp_path, "carried")
    counts = run.float("micro_batches").copy()
    rows = (counts == 4).nonzero()[0]
    counts[rows[::3]] = 1
    assert "no one number" in checked(accumulation_remainder, replace(run, columns={**run.columns, "micro_batches": counts}))


def test_the_last_epoch_alone_leaves_what_nobody_steps(tmp_path: Path) -> None:
    """Its gradients go nowhere: only boundaries are named."""
    run = trained(tmp_path, "carried")
    assert len(run.epochs) == EPOCHS
    (finding,) = outcomes(accumulation_remainder, run)
    assert "at 4 of 4 boundaries" in getattr(finding, "text", "")
