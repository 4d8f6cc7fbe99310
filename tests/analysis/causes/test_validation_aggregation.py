"""Validation losses that are no mean over the validation, and those that only look odd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import validation_aggregation
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.once import once
from tests.toys import dataset

pytestmark = pytest.mark.usefixtures("hardly_read")

Losses = list[list[tuple[float, int]]]
"""(loss, samples) of each batch of each validation so far."""


def weighted(seen: Losses) -> float:
    return sum(loss * n for loss, n in seen[-1]) / sum(n for _, n in seen[-1])


def by_batch(seen: Losses) -> float:
    return sum(loss for loss, _ in seen[-1]) / len(seen[-1])


@once
def record(
    directory: Path,
    logged: Callable[[Losses], float],
    *,
    held_out: int = 200,
    batch: int = 64,
    wrap: bool = True,
    criterion: nn.Module | None = None,
    reduction: str = "mean",
    inside: bool = False,
    epochs: int = 6,
) -> Run:
    """A real loop with a validation after each epoch, of which `logged(losses so far)` is written; `inside`: each batch is."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    made = torch.optim.Adam(net.parameters(), lr=2e-3)
    measure = criterion or nn.CrossEntropyLoss(reduction=reduction)
    seen: Losses = []
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, made, criterion=measure)
        loader = writer.wrap(DataLoader(TensorDataset(x[held_out:], y[held_out:]), batch_size=32, shuffle=True))
        val: DataLoader = DataLoader(TensorDataset(x[:held_out], y[:held_out]), batch_size=batch)
        val = writer.wrap(val, split="val") if wrap else val
        for epoch in range(epochs):
            for inputs, targets in loader:
                made.zero_grad()
                loss = measure(net(inputs), targets)
                (loss / (len(targets) if reduction == "sum" else 1)).backward()
                made.step()
            net.eval()
            seen.append([])
            with torch.no_grad():
                for inputs, targets in val:
                    value = measure(net(inputs), targets).item() / (len(targets) if reduction == "sum" else 1)
                    seen[-1].append((value, len(targets)))
                    if inside:
                        writer.add_scalar("Loss/val", value, epoch * 100 + len(seen[-1]))
            net.train()
            if not inside:
                writer.add_scalar("Loss/val", logged(seen), epoch)
    return load_runs(directory)["."]


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize(
    ("logged", "detail", "said"),
    [
        (lambda seen: seen[-1][-1][0], "last_batch", "the loss of its last batch in 6 of 6"),
        (lambda seen: seen[-1][0][0], "first_batch", "the loss of its first batch"),
        (by_batch, "unweighted", "each counted alike"),
        (lambda seen: float(np.mean([loss for one in seen for loss, _ in one])), "not_reset", "and all before it"),
        (lambda seen: float(np.mean([weighted([one]) for one in seen])), "not_reset", "and all before it"),
        (lambda seen: sum(loss for one in seen for loss, _ in one) / len(seen[-1]), "not_reset", "the sum of this validation"),
        (lambda seen: sum(loss for loss, _ in seen[-1]), "scaled", "divided by nothing"),
        (lambda seen: sum(loss for loss, _ in seen[-1]) / 200, "scaled", "divided by its samples"),
        (lambda seen: sum(loss for loss, _ in seen[-1]) / 3, "scaled", "one too few"),
    ],
)
def test_what_the_logged_value_is_equal_to(
    tmp_path: Path, logged: Callable[[Losses], float], detail: str, said: str, wrap: bool
) -> None:
    run = record(tmp_path, logged, wrap=wrap)
    (finding,) = findings(validation_aggregation, run)
    assert (finding.kind, finding.strength, finding.detail) == ("artifact", "proved", detail)
    assert said in finding.evidence[0]
    assert not finding.explains_jump
    assert any(f.cause == "validation_aggregation" for f in diagnose(run).findings)


def test_it_names_the_checkpoint_that_the_last_batch_would_have_chosen(tmp_path: Path) -> None:
    run = record(tmp_path, lambda seen: seen[-1][-1][0], epochs=14)
    (finding,) = findings(validation_aggregation, run)
    right = [float(np.average(v.fields["batch_losses"], weights=v.fields["batch_sizes"])) for v in run.validations]
    best, chosen = int(np.argmin(right)), int(np.argmin([v.value for v in run.validations]))
    assert best != chosen
    assert f"and at {run.validations[best].step:,} by the mean" in " ".join(finding.evidence)


@pytest.mark.parametrize("wrap", [True, False])
def test_the_mean_over_samples_is_right(tmp_path: Path, wrap: bool) -> None:
    assert "is the mean over samples in 6 of 6 validations" in checked(
        validation_aggregation, record(tmp_path, weighted, wrap=wrap)
    )


def test_the_mean_over_samples_of_a_sum_is_right(tmp_path: Path) -> None:
    assert "is the mean over samples" in checked(validation_aggregation, record(tmp_path, weighted, reduction="sum"))


def test_a_mean_over_batches_of_one_size_is_right(tmp_path: Path) -> None:
    assert "batches of one size in 6 of 6" in checked(
        validation_aggregation, record(tmp_path, by_batch, held_out=192)
    )


def test_a_last_batch_that_is_hardly_smaller_is_mentioned(tmp_path: Path) -> None:
    """128 and 72 samples: the mean over both is as good as one of 8 percent fewer."""
    said = checked(validation_aggregation, record(tmp_path, by_batch, batch=128))
    assert "too little to show" in said


def test_one_batch_has_one_mean(tmp_path: Path) -> None:
    assert "were not recorded" in skipped(validation_aggregation, record(tmp_path, by_batch, batch=256)).why


def test_a_value_that_is_written_in_each_batch_is_no_mean_of_the_users(tmp_path: Path) -> None:
    run = record(tmp_path, by_batch, inside=True)
    assert [v.fields["scalars"] for v in run.validations] == [4] * 6
    assert findings(validation_aggregation, run) == []


def test_another_loss_is_not_judged(tmp_path: Path) -> None:
    run = record(tmp_path, lambda seen: weighted(seen) + 0.05 * len(seen) ** 0.5)
    assert "none of the usual means" in checked(validation_aggregation, run)


def test_one_equality_may_be_chance(tmp_path: Path) -> None:
    run = record(tmp_path, lambda seen: seen[-1][-1][0], epochs=1)
    assert findings(validation_aggregation, run) == []


def test_values_of_the_recorder_are_none_of_the_users(tmp_path: Path) -> None:
    run = record(tmp_path, weighted)
    events = tuple(
        replace(e, fields={**e.fields, "source": "criterion"}) if e.kind == "validation_end" else e for e in run.events
    )
    assert "none was logged" in checked(validation_aggregation, replace(run, events=events))


def test_losses_that_are_not_recorded_are_asked_for(tmp_path: Path) -> None:
    run = record(tmp_path, weighted)
    events = tuple(
        replace(e, fields={k: v for k, v in e.fields.items() if k != "batch_losses"}) if e.kind == "validation_end" else e
        for e in run.events
    )
    assert "batch_losses=" in skipped(validation_aggregation, replace(run, events=events)).how
    assert "no validation" in skipped(validation_aggregation, replace(run, events=())).why


def test_what_log_validation_is_told_is_judged_as_well(tmp_path: Path) -> None:
    with LossLensWriter(str(tmp_path)) as writer:
        rng = np.random.default_rng(0)
        for epoch in range(4):
            for _ in range(20):
                writer.log_batch(float(rng.random()))
            losses = rng.random(5) + 1
            writer.log_validation(float(losses[-1]), batch_losses=losses.tolist(), batch_sizes=[32, 32, 32, 32, 4], epoch=epoch)
    (finding,) = findings(validation_aggregation, load_runs(tmp_path)["."])
    assert finding.detail == "last_batch"
