"""A loss that was not logged in every batch is told from one that is NaN, and the verdict says how often it comes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, Run, diagnose, load_runs
from tb_losslens.analysis.lens import lens
from tb_losslens.analysis.unlogged import logged_rarely, unlogged
from tb_losslens.plugin.timeline import build


def train(directory: Path, *, every: int = 1, nan_at: int = -1, watch: bool = False) -> Run:
    """A classifier with two adopted lines, its loss written every so many batches."""
    torch.manual_seed(0)
    x = torch.randn(600, 8)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=20, shuffle=True)
    model, criterion = nn.Linear(8, 2), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = 0
    with LossLensWriter(str(directory)) as writer:
        loader = writer.wrap(loader)
        if watch:
            writer.watch(model, optimizer, criterion=criterion)
        for _ in range(4):
            for inputs, target in loader:
                optimizer.zero_grad()
                loss = criterion(model(inputs), target)
                loss.backward()
                optimizer.step()
                if step % every == 0:
                    writer.add_scalar("Loss/train", float("nan") if step == nan_at else loss.item(), step)
                step += 1
    (run,) = load_runs(str(directory)).values()
    return run


def test_a_loss_that_comes_every_ten_batches_is_not_one_that_is_nan(tmp_path: Path):
    run = train(tmp_path, every=10)
    assert np.flatnonzero(~unlogged(run)).tolist() == list(range(0, 120, 10))
    diagnosis = diagnose(run)
    assert "`Loss/train` is logged once in 10 batches" in diagnosis.verdict
    assert "`writer.watch(model, optimizer, criterion=criterion)` or `writer.log_batch(loss)`" in diagnosis.verdict
    assert diagnosis.unchecked == ""  # the same line is there already
    assert {b.unmeasured for b in diagnosis.boundaries} == {"the loss is not logged in every batch"}
    assert build(run, 0, len(run), 100)["nonfinite"] == []
    shown = lens(run, diagnosis, 0)
    assert shown["unlogged"] == [batch for batch in shown["columns"][1] if batch % 10]


def test_one_that_is_nan_once_stays_one(tmp_path: Path):
    run = train(tmp_path, nan_at=50)
    assert not unlogged(run).any()
    assert build(run, 0, len(run), 100)["nonfinite"] != []
    assert lens(run, diagnose(run), 0)["unlogged"] == []


@pytest.mark.parametrize("watch", [False, True])
def test_the_healthy_twin_is_judged_and_says_what_it_could_not_check(tmp_path: Path, watch: bool):
    run = train(tmp_path, watch=watch)
    assert not unlogged(run).any()
    assert logged_rarely(run) == ""
    diagnosis = diagnose(run)
    assert diagnosis.kind == "benign"
    said = "Not checked: wrong mode, missing zero grad, accumulation remainder, the inputs after the loader, outlier samples "
    said += "and 3 more. Add `writer.watch(model, optimizer, criterion=criterion)`."
    assert diagnosis.unchecked == ("" if watch else said)
    assert diagnosis.unchecked in diagnosis.to_markdown()
    fine = {item.cause: item.text for item in diagnosis.checked}
    assert not any(name.replace("_", " ") in diagnosis.unchecked for name in fine)
    assert ("after the loader was not recorded" in fine["input_shift"]) is not watch


def test_a_loss_that_is_never_finite_counts_as_logged():
    run = Run.from_arrays(loss=np.full(40, np.nan), epoch_length=10)
    assert not unlogged(run).any()
