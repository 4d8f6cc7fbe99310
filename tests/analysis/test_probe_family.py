"""The probe beside a jump: is it in the model, in what its first updates do, or in the data and the logger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import memorization, resume_discontinuity, unknown
from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.probe_epochs import train_against_heldout
from tb_losslens.analysis.probe_family import family
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import findings
from tests.toys import dataset

JUMP = 3
"""The boundary before epoch 4."""


@dataclass
class Loop:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    inputs: Tensor
    targets: Tensor


def scrambled_weights(loop: Loop) -> None:
    with torch.no_grad():
        for parameter in loop.model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))


def wrong_labels(loop: Loop) -> None:
    loop.targets[torch.rand(len(loop.targets)) < 0.5] = 0


def far_steps(loop: Loop) -> None:
    loop.optimizer.param_groups[0]["lr"] *= 12


@cache
def trained(fault: Callable[[Loop], None]) -> Run:
    """8 epochs of 50 batches; `fault` comes before the fifth."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, held_x, held_y = (part.clone() for part in dataset("gaussian"))
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    loop = Loop(model, torch.optim.SGD(model.parameters(), lr=0.1), x, y)
    criterion = nn.CrossEntropyLoss()
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(model, loop.optimizer, criterion=criterion)
            writer.set_probe(train_batch=(x[:256].clone(), y[:256].clone()), heldout_batch=(held_x, held_y))
            loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
            for epoch in range(8):
                if epoch == JUMP + 1:
                    fault(loop)
                for inputs, targets in loader:
                    loop.optimizer.zero_grad()
                    criterion(model(inputs), targets).backward()
                    loop.optimizer.step()
        return load_runs(Path(directory))["."]


@pytest.mark.parametrize(
    ("fault", "side"), [(scrambled_weights, "state"), (wrong_labels, "stream"), (far_steps, "updates")]
)
def test_each_side_is_told_by_experiment(fault: Callable[[Loop], None], side: str) -> None:
    run = trained(fault)
    boundary = build_context(run).boundaries[JUMP]
    assert abs(boundary.z) > 5
    found = family(run, [boundary])
    assert found is not None
    assert found.side == side
    assert found.evidence.startswith("by experiment (1 boundary)")


def test_what_nothing_explains_says_its_side_and_where_to_look() -> None:
    """Of the labels only the loss is left: no finding but the experiment knows where to look."""
    run = trained(wrong_labels)
    keep = {name: run.columns[name] for name in ("loss", "step", "epoch", "index", "time") if name in run.columns}
    bare = replace(run, columns=keep, events=tuple(e for e in run.events if e.kind in ("probe", "epoch_begin", "epoch_end")))
    (found,) = findings(unknown, bare)
    assert "By experiment it is in the data or the logger" in found.text
    assert found.advice.startswith("Look at the loader and at the line that logs")
    assert any(line.startswith("by experiment") for line in found.evidence)


def test_without_a_probe_nothing_is_said_of_sides() -> None:
    run = trained(wrong_labels)
    without = replace(run, events=tuple(event for event in run.events if event.kind != "probe"))
    assert family(without, [build_context(without).boundaries[JUMP]]) is None


def looked(row: int, begin: float, first: float, later: float) -> tuple[RunEvent, ...]:
    at = (("t0", row, begin), ("t1", row, first), ("u5", row + 5, later))
    return tuple(RunEvent("probe", where, where, fields={"when": when, "train_eval": value}) for when, where, value in at)


@pytest.mark.parametrize(
    ("looks", "at_once", "side"),
    [
        ((1.0, 1.0, 1.0), True, "stream"),
        ((1.0, 1.0, 1.6), True, "stream"),  # wrong labels change the weights with the first updates as well
        ((1.0, 1.6, 1.6), True, "state"),
        ((1.0, 1.0, 1.6), False, "updates"),
        ((1.0, 1.0, 1.2), False, None),  # a part of the jump
        ((1.0, 1.3, 1.3), True, None),
        ((1.0, 0.4, 0.4), True, None),  # against it
        ((1.0, float("nan"), 1.0), True, None),
        ((1.0, 1.0, float("nan")), True, "stream"),  # the looks after updates were left out
        ((1.0, 1.0, float("nan")), False, None),
    ],
)
def test_a_change_that_is_neither_all_nor_nothing_is_left_open(
    looks: tuple[float, float, float], at_once: bool, side: str | None
) -> None:
    loss = 1 + 0.05 * np.random.default_rng(0).normal(size=400)
    loss[200 if at_once else 202 :] += 1.0
    run = replace(Run.from_arrays(loss=loss, epoch_length=50), events=looked(200, *looks))
    found = family(run, [build_context(run).boundaries[3]])
    assert (None if found is None else found.side) == side


def test_changed_weights_say_what_they_do_to_the_same_batch() -> None:
    (found,) = findings(resume_discontinuity, trained(scrambled_weights))
    assert found.detail == "weights_changed"
    assert any(line.startswith("by experiment, the loss of the same training batch moves by +") for line in found.evidence)


def stairs(train: list[float], heldout: list[float]) -> Run:
    """A loss that steps down with each of 6 epochs, and what the probe measured at their ends."""
    loss = np.repeat(3.0 - 0.3 * np.arange(6), 60) + 0.05 * np.random.default_rng(0).normal(size=360)
    events = tuple(
        RunEvent("probe", 60 * (k + 1), 60 * (k + 1), fields={"when": "t0", "train_eval": a, "heldout_eval": b})
        for k, (a, b) in enumerate(zip(train, heldout, strict=True))
    )
    return replace(Run.from_arrays(loss=loss, epoch_length=60), events=events)


def test_learning_by_heart_is_told_by_the_two_batches_of_the_probe() -> None:
    (found,) = findings(memorization, stairs([2.0, 1.5, 1.0, 0.5], [2.0, 2.1, 2.2, 2.4]))
    assert any(line.startswith("by experiment") for line in found.evidence)
    (other,) = findings(memorization, stairs([2.0, 1.5, 1.0, 0.5], [2.0, 1.5, 1.0, 0.6]))
    assert any(line.startswith("by experiment") for line in other.against)
    assert other.score < found.score


def test_two_epochs_are_too_few_for_that() -> None:
    assert train_against_heldout(stairs([2.0, 1.0], [2.0, 2.0])) is None
