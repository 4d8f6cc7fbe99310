"""Advice names no line of code that the training has: a list, a stream, and a network that is given integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Diagnosis, Skipped
from tb_losslens.analysis.recordable import helpful
from tb_losslens.analysis.signals import missing
from tb_losslens.store.run import Run

WRAP = "train_loader = writer.wrap(train_loader)"
WATCH = "writer.watch(model, optimizer, criterion=criterion)"
CRITERION = (
    "writer.watch(criterion=criterion)     # a module; a function is known by its log, a watched model and a wrapped loader"
)


class _Stream(IterableDataset[Any]):
    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self.x, self.y = x, y

    def __iter__(self) -> Any:
        return iter([(self.x[i], self.y[i]) for i in torch.randperm(len(self.x)).tolist()])


def record(directory: Path, kind: str) -> Run:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    integers = kind == "integers"
    x = torch.randint(0, 30, (800, 12)) if integers else torch.randn(800, 12)
    y = (x.float().mean(1) > (14.5 if integers else 0)).long()
    first: list[nn.Module] = [nn.Embedding(30, 8), nn.Flatten(), nn.Linear(96, 2)] if integers else [nn.Linear(12, 2)]
    net = nn.Sequential(*first)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    made: Any = DataLoader(_Stream(x, y) if kind == "stream" else TensorDataset(x, y), batch_size=20)
    with LossLensWriter(str(directory)) as writer:
        loader = writer.wrap(list(made) if kind == "list" else made)
        writer.watch(net, opt, criterion=criterion)
        for _ in range(4):
            for inputs, targets in loader:
                opt.zero_grad()
                criterion(net(inputs), targets).backward()
                opt.step()
    return load_runs(directory)["."]


def lines(diagnosis: Diagnosis) -> set[str]:
    """All lines of code that are advised."""
    found = {line for finding in diagnosis.findings for line in finding.missing}
    return found | {line for item in diagnosis.skipped for line in item.how.split("; ") if line}


@pytest.mark.parametrize("kind", ["list", "stream", "integers"])
def test_no_line_is_advised_that_is_there(tmp_path: Path, kind: str) -> None:
    run = record(tmp_path, kind)
    diagnosis = diagnose(run)
    assert not lines(diagnosis) & {WRAP, WATCH}
    assert not {item["how"] for item in missing(run)} & {WRAP, WATCH}
    if kind == "integers":
        assert any("as integers have none" in item.text for item in diagnosis.checked if item.cause == "input_shift")


def test_what_was_skipped_says_why_the_line_gives_nothing(tmp_path: Path) -> None:
    run = record(tmp_path, "stream")
    said = helpful(run, Skipped("repeated_order", "sample ids are unknown", WRAP))
    assert said == Skipped("repeated_order", "sample ids are unknown: the data set is an IterableDataset, which has no ids", "")


@pytest.mark.parametrize("whole", [True, False])
def test_the_reason_is_that_of_what_is_missing(tmp_path: Path, whole: bool) -> None:
    """A model of numbers that is stepped once for all batches, called as a whole or layer by layer."""
    torch.manual_seed(0)
    x, net, criterion = torch.randn(240, 12), nn.Sequential(nn.Linear(12, 2)), nn.CrossEntropyLoss()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(net, opt, criterion=criterion)
        for _ in writer.wrap(range(1)):
            loss = criterion(net(x) if whole else net[0](x), (x[:, 0] > 0).long())
            loss.backward()
            opt.step()
    run = load_runs(tmp_path)["."]
    skipped = {item.cause: item.why for item in diagnose(run).skipped}
    assert skipped["missing_zero_grad"].endswith("gradients could not be followed from one step to the next")
    assert "integers" not in " ".join(skipped.values())
    assert ("wrong_mode" in skipped) is not whole
    if not whole:
        assert "calls of its parts do not tell" in skipped["wrong_mode"]


def test_a_line_that_is_missing_is_advised() -> None:
    run = Run.from_arrays(loss=[1.0] * 60, epoch_length=20)
    assert WRAP in {item["how"] for item in missing(run)}
    skipped = Skipped("repeated_order", "sample ids are unknown", WRAP)
    assert helpful(run, skipped) is skipped


@pytest.mark.parametrize(("watched", "penalty"), [(False, 0.0), (False, 0.01), (True, 0.0)])
def test_a_loss_that_is_no_known_function_asks_for_a_criterion(tmp_path: Path, watched: bool, penalty: float) -> None:
    """What the loss is a function of cannot be told where a function with a further term is called, and that is said."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x = torch.randn(800, 12)
    y = (x[:, 0] > 0).long()
    net, criterion = nn.Linear(12, 2), nn.CrossEntropyLoss()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(net, opt)
        if watched:
            writer.watch(criterion=criterion)
        for _ in range(3):
            for inputs, targets in writer.wrap(DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)):
                loss = criterion(net(inputs), targets) if watched else nn.functional.cross_entropy(net(inputs), targets)
                loss = loss + penalty * net.weight.square().sum()
                opt.zero_grad()
                loss.backward()
                opt.step()
                writer.log_batch(loss)
    diagnosis = diagnose(load_runs(tmp_path)["."])
    skipped = {item.cause: item for item in diagnosis.skipped}
    if not penalty:
        assert CRITERION not in lines(diagnosis)
        assert "bad_init" not in skipped
    else:
        assert skipped["bad_init"].how == CRITERION
        assert "integers" not in skipped["bad_init"].why
