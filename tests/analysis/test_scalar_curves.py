"""Scalars of the user's own beside a loss that the criterion gives: written twice, counted by epoch, and right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import log_overlap
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.toys import dataset

Write = Callable[[LossLensWriter, float, int, int], None]
"""(writer, loss, step over the run, index in the epoch): what the loop logs in a batch."""


def record(directory: Path, write: Write, *, watch: bool = True) -> Run:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    criterion = nn.CrossEntropyLoss()
    step = 0
    with LossLensWriter(str(directory)) as writer:
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        if watch:
            writer.watch(net, opt, criterion=criterion)
        for _ in range(4):
            for index, (inputs, targets) in enumerate(loader):
                opt.zero_grad()
                loss = criterion(net(inputs), targets)
                loss.backward()
                opt.step()
                write(writer, loss.item(), step, index)
                step += 1
    return load_runs(directory)["."]


def twice(writer: LossLensWriter, loss: float, step: int, _: int) -> None:
    writer.add_scalar("loss", loss, step)
    writer.add_scalar("loss", loss / 2, step)


@pytest.mark.parametrize("watch", [True, False])
def test_one_tag_with_two_values_in_each_batch(tmp_path: Path, watch: bool) -> None:
    run = record(tmp_path, twice, watch=watch)
    (finding,) = findings(log_overlap, run)
    assert (finding.kind, finding.strength, finding.detail) == ("artifact", "proved", "written_twice")
    assert "written 2 times a batch" in finding.text
    assert diagnose(run).findings[0].cause == "log_overlap"


def test_a_step_within_the_epoch_is_seen_also_where_the_criterion_gives_the_loss(tmp_path: Path) -> None:
    run = record(tmp_path, lambda writer, loss, _, index: writer.add_scalar("loss", loss, index))
    assert run.facts["loss_source"] == "criterion"
    (finding,) = findings(log_overlap, run)
    assert finding.detail == "scalar_counter"
    assert "goes back 3 times, first from 49 to 0" in finding.text


def test_it_is_said_once_where_the_scalar_is_the_loss(tmp_path: Path) -> None:
    run = record(tmp_path, lambda writer, loss, _, index: writer.add_scalar("loss", loss, index), watch=False)
    (finding,) = findings(log_overlap, run)
    assert finding.detail == "restarting_counter"


def test_two_tags_are_two_curves(tmp_path: Path) -> None:
    def both(writer: LossLensWriter, loss: float, step: int, _: int) -> None:
        writer.add_scalar("train/loss", loss, step)
        writer.add_scalar("train/loss_mean", loss / 2, step)

    run = record(tmp_path, both)
    assert "scalar_steps" not in run.facts
    assert "counted by LossLens" in checked(log_overlap, run)


def test_batches_that_share_a_step_under_accumulation_are_none(tmp_path: Path) -> None:
    run = record(tmp_path, lambda writer, loss, step, _: writer.add_scalar("loss", loss, step // 4))
    assert run.facts["scalar_steps"]["loss"]["repeated"] == 150
    assert all(finding.kind == "benign" for finding in findings(log_overlap, run))
