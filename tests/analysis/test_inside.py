"""Something changes in the middle of an epoch: recorded trainings, each fault in two of them, and their healthy twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.finding import Diagnosis, Finding
from tests.toys import dataset

AT = 337
"""Batches before the fault; epochs have 50."""


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Inputs and labels that a fault can get at."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels
        self.scale = 1.0
        self.names = torch.arange(10)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index] * self.scale, self.names[self.labels[index]]


@dataclass
class Loop:
    """What a fault may change in the middle of the loop."""

    writer: LossLensWriter
    model: nn.Module
    head: nn.Linear
    dropout: nn.Dropout
    samples: Samples
    given: Callable[[Tensor], Tensor] = field(default=lambda inputs: inputs)
    targets: Callable[[Tensor], Tensor] = field(default=lambda labels: labels)


class Columns(nn.Module):
    """A small convolution over the 20 inputs, with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 12, 5), nn.BatchNorm1d(12), nn.ReLU(), nn.Flatten())
        self.dropout, self.head = nn.Dropout(0.05), nn.Linear(12 * 16, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.head(self.dropout(self.body(inputs.unsqueeze(1))))
        return out


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.ReLU())
        self.dropout, self.head = nn.Dropout(0.1), nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.head(self.dropout(self.body(inputs)))
        return out


def nothing(loop: Loop) -> None: ...


def raised_dropout(loop: Loop) -> None:
    loop.dropout.p = 0.7


def new_head(loop: Loop) -> None:
    loop.head.reset_parameters()


def other_names(loop: Loop) -> None:
    loop.samples.names[:4] = torch.tensor([1, 0, 3, 2])


def noisy_inputs(loop: Loop) -> None:
    loop.given = lambda inputs: inputs + 1.5 * torch.randn_like(inputs)


def mixed_targets(loop: Loop) -> None:
    loop.targets = lambda labels: labels[torch.randperm(len(labels))]


def noted(loop: Loop) -> None:
    loop.writer.note("harder samples from here on", kind="config_change")
    mixed_targets(loop)


@cache
def trained(kind: str, fault: Callable[[Loop], None]) -> Diagnosis:
    """10 epochs; `fault` comes in the middle of the seventh."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset("gaussian")
    model = Layers() if kind == "layers" else Columns()
    optimizer = (
        torch.optim.Adam(model.parameters(), lr=2e-3)
        if kind == "layers"
        else torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    )
    criterion, samples = nn.CrossEntropyLoss(), Samples(x, y)
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(model, optimizer, criterion=criterion)
            loop = Loop(writer, model, model.head, model.dropout, samples)
            loader = writer.wrap(DataLoader(samples, batch_size=32, shuffle=True))
            held_out = writer.wrap(DataLoader(TensorDataset(held_x, held_y), batch_size=100), split="val")
            step = 0
            for _ in range(10):
                model.train()
                for inputs, labels in loader:
                    if step == AT:
                        fault(loop)
                    optimizer.zero_grad()
                    criterion(model(loop.given(inputs)), loop.targets(labels)).backward()
                    optimizer.step()
                    step += 1
                model.eval()
                with torch.no_grad():
                    for inputs, labels in held_out:
                        criterion(model(inputs), labels)
        return diagnose(load_runs(Path(directory))["."])


BOTH = pytest.mark.parametrize("kind", ["layers", "columns"])


def first(diagnosis: Diagnosis) -> Finding:
    finding = diagnosis.findings[0]
    assert diagnosis.kind == finding.kind
    assert abs(finding.steps[0] - AT) <= 2
    assert not finding.boundaries
    return finding


@BOTH
def test_dropout_that_is_raised(kind: str) -> None:
    finding = first(trained(kind, raised_dropout))
    assert (finding.cause, finding.detail, finding.kind) == ("over_regularized", "dropout_changed", "fault")
    assert "-> 0.7" in finding.evidence[0]
    assert "module.p = 0.1" in finding.fix or "module.p = 0.05" in finding.fix


@BOTH
def test_weights_that_other_code_changed_by_what_a_step_cannot_do(kind: str) -> None:
    finding = first(trained(kind, new_head))
    assert (finding.cause, finding.detail, finding.kind) == ("resume_discontinuity", "weights_changed", "fault")
    assert finding.strength == "proved"
    assert "the size of the update" in finding.evidence[0]


@BOTH
def test_labels_that_become_others_for_the_same_samples(kind: str) -> None:
    finding = first(trained(kind, other_names))
    assert (finding.cause, finding.detail, finding.strength) == ("target_shift", "lasting", "proved")
    assert finding.explains_jump
    assert any(line.startswith("none of the samples before step") for line in finding.evidence)
    assert f"before step {finding.steps[0]}" in finding.fix


@BOTH
def test_inputs_that_become_noisy_in_the_loop(kind: str) -> None:
    finding = first(trained(kind, noisy_inputs))
    assert (finding.cause, finding.kind) == ("input_shift", "fault")
    assert any(line.startswith("the input") for line in finding.evidence)


@BOTH
def test_what_nothing_explains_is_said_to_be_there(kind: str) -> None:
    finding = first(trained(kind, mixed_targets))
    assert (finding.cause, finding.kind) == ("unknown", "unknown")
    assert "inside an epoch" in finding.title


@BOTH
def test_a_note_there_makes_it_planned(kind: str) -> None:
    finding = first(trained(kind, noted))
    assert (finding.cause, finding.kind) == ("planned_change", "planned")
    assert '"harder samples from here on"' in finding.text


@BOTH
def test_their_healthy_twins_have_no_rise(kind: str) -> None:
    diagnosis = trained(kind, nothing)
    assert diagnosis.kind == "benign"
    assert not any("inside an epoch" in finding.text for finding in diagnosis.findings)
