"""Loops that clear their gradients never, once an epoch, after each step, or after several backwards on purpose."""

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
from tb_losslens.analysis.boxes import box_spans
from tb_losslens.analysis.causes import bad_batch, missing_zero_grad
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.toys import dataset

Clears = Callable[[int], bool]
"""index of the batch in its epoch -> whether the gradients are cleared before its backward."""


def record(directory: Path, clears: Clears, *, each: int = 1, optimizer: str = "SGD", lr: float = 0.05, epochs: int = 6) -> Run:
    """A real loop with a step after every `each` backwards."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    made = getattr(torch.optim, optimizer)(net.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, made, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for _ in range(epochs):
            for index, (inputs, targets) in enumerate(loader):
                if clears(index):
                    made.zero_grad()
                criterion(net(inputs), targets).backward()
                if (index + 1) % each == 0:
                    made.step()
    return load_runs(directory)["."]


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_gradients_that_nobody_clears(tmp_path: Path, optimizer: str) -> None:
    run = record(tmp_path, lambda _: False, optimizer=optimizer, lr=0.5 if optimizer == "SGD" else 0.003)
    (finding,) = findings(missing_zero_grad, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "never")
    assert finding.steps == (1,)
    assert "optimizer.zero_grad()" in finding.fix
    assert diagnose(run).findings[0].cause == "missing_zero_grad"


def test_a_loss_that_diverges_with_them_is_explained_and_no_batch_is_blamed(tmp_path: Path) -> None:
    run = record(tmp_path, lambda _: False, lr=0.5)
    found = diagnose(run).findings
    assert [finding.cause for finding in found] == ["missing_zero_grad"]
    assert found[0].explains_jump
    assert any("the loss begins at" in line for line in found[0].evidence)


def test_a_loop_that_clears_once_an_epoch(tmp_path: Path) -> None:
    run = record(tmp_path, lambda index: index == 0, optimizer="Adam", lr=0.001)
    (finding,) = findings(missing_zero_grad, run)
    assert (finding.detail, finding.boundaries) == ("each_epoch", (0, 1, 2, 3, 4))
    assert "outside the loop over batches" in finding.text


def test_a_loop_that_clears_only_some_steps_is_said_to_clear_those(tmp_path: Path) -> None:
    run = record(tmp_path, lambda index: index % 3 == 0, optimizer="Adam", lr=0.001)
    (finding,) = findings(missing_zero_grad, run)
    assert (finding.kind, finding.detail) == ("fault", "sometimes")
    assert "in 67\N{NARROW NO-BREAK SPACE}% of the steps from step 1 on" in finding.text
    assert any("cleared once in 3 steps" in line for line in finding.evidence)
    assert "under no condition" in finding.fix


def test_one_of_two_optimisers_that_is_never_cleared(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, y, _, _ = dataset("gaussian")
    body, head = nn.Sequential(nn.Linear(20, 64), nn.ReLU()), nn.Linear(64, 10)
    net = nn.Sequential(body, head)
    both = [torch.optim.SGD(body.parameters(), lr=0.001), torch.optim.Adam(head.parameters(), lr=0.001)]
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(net, both)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for _ in range(3):
            for inputs, targets in loader:
                both[1].zero_grad()
                loss = nn.functional.cross_entropy(net(inputs), targets)
                loss.backward()
                for optimizer in both:
                    optimizer.step()
                writer.log_batch(loss)
    (finding,) = findings(missing_zero_grad, load_runs(tmp_path)["."])
    assert finding.detail == "never"
    assert "of at least one of 2 optimisers" in finding.text
    assert "all 2 of them" in finding.fix


def test_accumulation_on_purpose_is_none(tmp_path: Path) -> None:
    """Gradients are there at three of four backwards, and cleared after each step."""
    run = record(tmp_path, lambda index: index % 4 == 0, each=4, epochs=8)
    assert "gradients were cleared" in checked(missing_zero_grad, run)


def test_healthy_twin_is_fine(tmp_path: Path) -> None:
    run = record(tmp_path, lambda _: True)
    assert "gradients were cleared before the first backward of each of" in checked(missing_zero_grad, run)


def test_a_few_odd_steps_are_no_habit(tmp_path: Path) -> None:
    run = record(tmp_path, lambda index: index % 20 != 7)
    assert "too few for a loop that never clears them" in checked(missing_zero_grad, run)


def test_swings_of_a_loss_that_grows_steadily_are_no_span_of_bad_batches(tmp_path: Path) -> None:
    """The same recording without the proof, as another recorder would leave it."""
    run = record(tmp_path, lambda _: False, lr=0.5, epochs=8)
    bare = replace(run, columns={k: v for k, v in run.columns.items() if k != "grads_before_backward"})
    assert box_spans(bare) == []
    assert findings(bad_batch, bare) == []


@pytest.mark.parametrize("growth", [0.0, 0.02, -0.02])
def test_a_span_far_above_its_trend_is_seen_also_where_the_loss_moves(growth: float) -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(600)
    logs = growth * rows + 0.05 * rng.standard_normal(600)
    logs[300:312] += 3.0
    assert box_spans(Run.from_arrays(loss=np.exp(logs), epoch_length=60)) == [(300, 311)]


def test_a_span_right_after_a_step_that_threw_the_weights_off_is_their_recovery() -> None:
    rng = np.random.default_rng(0)
    logs = 0.05 * rng.standard_normal(600)
    logs[300:306] += 3.0
    logs[296] += 5.0
    assert box_spans(Run.from_arrays(loss=np.exp(logs), epoch_length=60)) == []


def record_auxiliary(directory: Path, *, clears: bool, to_none: bool, only_first: bool = False) -> Run:
    """Each step has the backward of a penalty before that of the criterion."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    made = torch.optim.SGD(net.parameters(), lr=0.05)
    criterion = nn.CrossEntropyLoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, made, criterion=criterion)
        for _ in range(6):
            for inputs, targets in writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)):
                if clears:
                    made.zero_grad(set_to_none=to_none)
                held = [next(net.parameters())] if only_first else list(net.parameters())
                (1e-4 * sum(p.abs().sum() for p in held)).backward()
                criterion(net(inputs), targets).backward()
                made.step()
    return load_runs(directory)["."]


@pytest.mark.parametrize("only_first", [False, True])
@pytest.mark.parametrize("to_none", [False, True])
def test_an_auxiliary_backward_before_that_of_the_criterion_is_no_proof(
    tmp_path: Path, to_none: bool, only_first: bool
) -> None:
    """It leaves gradients, and these were cleared after the step before."""
    run = record_auxiliary(tmp_path, clears=True, to_none=to_none, only_first=only_first)
    assert (run.float("grads_before_backward") > 0).sum() > 100
    assert not np.nansum(run.float("grads_untouched"))
    assert "as of an auxiliary loss" in checked(missing_zero_grad, run)


def test_a_loop_that_clears_nothing_and_has_such_a_backward_is_left_open(tmp_path: Path) -> None:
    run = record_auxiliary(tmp_path, clears=False, to_none=True)
    assert "of which it is not known what they were" in checked(missing_zero_grad, run)
