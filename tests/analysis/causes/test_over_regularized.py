"""Dropout and weight decay that are too strong, from the start or from an epoch on, and those that are not: recorded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import over_regularized
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset
from tests.trainings import train

HARDLY_READ = pytest.mark.usefixtures("hardly_read")
"""For what is told by the loss and the settings; of a decay from the start the norms of the layers tell."""


@dataclass
class Loop:
    """What a change may reach."""

    writer: LossLensWriter
    model: nn.Sequential
    optimizer: torch.optim.Optimizer


Change = Callable[[Loop], None]


def record(
    directory: Path,
    *,
    dropout: float = 0.1,
    decay: float = 0.0,
    optimizer: str = "momentum",
    change: Change | None = None,
    at: int = 5,
    epochs: int = 10,
    probe: bool = False,
    seed: int = 0,
    flipped: float = 0.0,
    data: str = "digits",
    lr: float | None = None,
) -> Run:
    """A real loop on `data`; `change` is made before epoch `at`, and a part `flipped` of the training labels is random."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset(data)
    y = torch.where(torch.rand(len(y)) < flipped, torch.randint(0, 10, (len(y),)), y)
    width = 64
    model = nn.Sequential(
        nn.Linear(x.shape[1], width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(width, 10),
    )  # fmt: skip
    criterion = nn.CrossEntropyLoss()
    made: torch.optim.Optimizer
    if optimizer == "momentum":
        made = torch.optim.SGD(model.parameters(), lr=lr or 0.05, momentum=0.9, weight_decay=decay)
    else:
        made = getattr(torch.optim, optimizer)(model.parameters(), lr=lr or 2e-3, weight_decay=decay)
    with LossLensWriter(str(directory)) as writer:
        loop = Loop(writer, model, made)
        writer.watch(model, made, criterion=criterion)
        if probe:
            writer.set_probe()
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        val = writer.wrap(DataLoader(TensorDataset(held_x, held_y), batch_size=128), split="val")
        for epoch in range(epochs):
            if change is not None and epoch == at:
                change(loop)
            model.train()
            for inputs, targets in loader:
                made.zero_grad()
                criterion(model(inputs), targets).backward()
                made.step()
            model.eval()
            with torch.no_grad():
                for inputs, targets in val:
                    criterion(model(inputs), targets)
    return load_runs(directory)["."]


def dropout_to(rate: float) -> Change:
    def change(loop: Loop) -> None:
        for module in loop.model:
            if isinstance(module, nn.Dropout):
                module.p = rate

    return change


def decay_to(value: float) -> Change:
    def change(loop: Loop) -> None:
        loop.optimizer.param_groups[0]["weight_decay"] = value

    return change


def probed(run: Run) -> bool:
    return any(event.kind == "probe" for event in run.events)


def without_probe(run: Run) -> Run:
    """The recording of the same training without a probe, which changes nothing in it (tests/record/probe/test_no_trace.py)."""
    return replace(run, events=tuple(event for event in run.events if event.kind != "probe"))


@HARDLY_READ
@pytest.mark.parametrize("seed", [0, 1])
def test_dropout_that_is_raised_explains_the_jump(tmp_path: Path, seed: int) -> None:
    diagnosis = diagnose(record(tmp_path, change=dropout_to(0.6), seed=seed))
    best = diagnosis.findings[0]
    assert (best.cause, best.detail, best.kind, best.boundaries) == ("over_regularized", "dropout_changed", "fault", (4,))
    assert best.explains_jump
    assert "dropout 0.1 -> 0.6 at boundary 5 (step 235), in 2 settings" in best.evidence[0]
    assert "module.p = 0.1 " in best.fix
    assert "planned_change" not in [f.cause for f in diagnosis.findings]


@HARDLY_READ
@pytest.mark.parametrize("change", [dropout_to(0.1), dropout_to(0.12), dropout_to(0.0), decay_to(1e-4)])
def test_changes_that_the_loss_does_not_show_are_none(tmp_path: Path, change: Change) -> None:
    assert findings(over_regularized, record(tmp_path, change=change)) == []


def test_a_change_that_was_noted_is_meant(tmp_path: Path) -> None:
    def noted(loop: Loop) -> None:
        dropout_to(0.6)(loop)
        loop.writer.note("more dropout for the second half", kind="config_change")

    diagnosis = diagnose(record(tmp_path, change=noted))
    assert [f.cause for f in diagnosis.findings][:1] == ["planned_change"]
    assert "over_regularized" not in [f.cause for f in diagnosis.findings]


@HARDLY_READ
def test_of_several_changes_none_is_chosen(tmp_path: Path) -> None:
    def several(loop: Loop) -> None:
        dropout_to(0.6)(loop)
        loop.optimizer.param_groups[0]["momentum"] = 0.5

    assert findings(over_regularized, record(tmp_path, change=several)) == []


@HARDLY_READ
@pytest.mark.parametrize(
    ("options", "value"),
    [({}, 0.1), ({"optimizer": "AdamW", "decay": 0.01}, 20.0), ({"optimizer": "Adam"}, 1.0)],
    ids=["sgd", "adamw", "adam"],
)
def test_weight_decay_that_is_raised(tmp_path: Path, options: dict[str, Any], value: float) -> None:
    (finding,) = findings(over_regularized, record(tmp_path, change=decay_to(value), **options))
    assert (finding.detail, finding.kind, finding.boundaries) == ("weight_decay_changed", "fault", (4,))
    assert any("median loss of each epoch after it" in text for text in finding.evidence)


@HARDLY_READ
@pytest.mark.parametrize("probe", [False, True])
def test_dropout_that_hides_what_the_weights_know(tmp_path: Path, *, probe: bool) -> None:
    (finding,) = findings(over_regularized, record(tmp_path, dropout=0.8, probe=probe))
    assert (finding.detail, finding.strength, finding.explains_jump) == ("dropout", "likely", False)
    assert ("samples that the probe keeps" in " ".join(finding.evidence)) is probe
    assert any(line.startswith("by experiment") for line in finding.evidence) is probe
    assert ("writer.set_probe()" in finding.missing) is not probe


@HARDLY_READ
def test_dropout_that_leaves_nothing_in_either_mode(tmp_path: Path) -> None:
    (finding,) = findings(over_regularized, record(tmp_path, dropout=0.95))
    assert finding.detail == "dropout"
    assert any("without a signal" in text for text in finding.against)


@HARDLY_READ
def test_dropout_that_leaves_little_in_either_mode(tmp_path: Path) -> None:
    """Less than half of what the weights know is hidden, but they know little: four of five units are missing."""
    run = record(tmp_path, dropout=0.8, data="gaussian", optimizer="Adam", epochs=8)
    (finding,) = findings(over_regularized, run)
    assert finding.detail == "dropout"
    share = next(float(text.split("takes away ")[1].split()[0]) for text in finding.evidence if "takes away" in text)
    assert 25 < share < 50


@HARDLY_READ
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("data", ["digits", "gaussian"])
def test_usual_dropout_is_fine(tmp_path: Path, rate: float, data: str) -> None:
    run = record(tmp_path, dropout=rate, data=data, probe=True)
    assert probed(run)
    for seen in (run, without_probe(run)):
        assert findings(over_regularized, seen) == []


@HARDLY_READ
def test_wrong_labels_look_like_dropout_until_a_probe_is_asked(tmp_path: Path) -> None:
    run = record(tmp_path, dropout=0.5, flipped=0.4, probe=True)
    assert "writer.set_probe() would tell" in checked(over_regularized, without_probe(run))
    assert "samples that the probe keeps" in checked(over_regularized, run)


@pytest.mark.parametrize(
    ("optimizer", "decay"), [("momentum", 0.1), ("Adam", 1.0), ("AdamW", 100.0)], ids=["sgd", "adam", "adamw"]
)
def test_weight_decay_that_lets_nothing_be_learned(tmp_path: Path, optimizer: str, decay: float) -> None:
    (finding,) = findings(over_regularized, record(tmp_path, optimizer=optimizer, decay=decay, dropout=0.0))
    assert (finding.detail, finding.kind, finding.strength) == ("weight_decay", "fault", "likely")
    if optimizer == "momentum":  # ln 2 x 0.1 / (0.05 x 0.1)
        assert "(13.9 steps)" in finding.evidence[0]
    if optimizer == "AdamW":  # ln 2 / (0.002 x 100)
        assert "(3.47 steps)" in finding.evidence[0]


@pytest.mark.parametrize(("optimizer", "decay"), [("momentum", 0.01), ("momentum", 5e-4), ("Adam", 1e-3), ("AdamW", 0.1)])
def test_usual_weight_decay_is_fine(tmp_path: Path, optimizer: str, decay: float) -> None:
    assert findings(over_regularized, record(tmp_path, optimizer=optimizer, decay=decay)) == []


def test_labels_without_a_signal_are_no_weight_decay(tmp_path: Path) -> None:
    """Nothing is learned, and a usual decay shrinks the weights: its half-life is many epochs."""
    assert findings(over_regularized, record(tmp_path, flipped=1.0, decay=5e-4, dropout=0.5)) == []


def test_without_the_settings_it_says_how_to_record_them() -> None:
    assert "writer.watch" in skipped(over_regularized, train(epochs=4)).how
