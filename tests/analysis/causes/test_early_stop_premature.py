"""Trainings that a patience ended, too early or rightly, and those of which nobody knows the plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import early_stop_premature
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped

pytestmark = pytest.mark.usefixtures("hardly_read")


def _samples(count: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(20, 5, generator=torch.Generator().manual_seed(99))
    x = torch.randn(count, 20, generator=generator)
    return TensorDataset(x, torch.multinomial((0.7 * x @ weight).softmax(1), 1, generator=generator).squeeze(1))


def record(directory: Path, *, note: str = "", **options: Any) -> Run:
    """The loop of `train`, with a writer and perhaps a note at its end."""
    with LossLensWriter(str(directory)) as writer:
        train(writer, **options)
        if note:
            writer.note(note)
    return load_runs(directory)["."]


def train(
    writer: LossLensWriter | None,
    *,
    patience: int,
    seed: int = 0,
    subset: int = 48,
    lr: float = 0.01,
    epochs: int = 40,
    config: dict[str, Any] | None = None,
    samples: int = 1600,
) -> list[float]:
    """A real loop that validates on `subset` samples, drawn anew, and stops after `patience` validations without a new best.

    With or without a writer; returns the held-out losses.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    held_x, held_y = _samples(1024, seed + 1000).tensors
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
    made = torch.optim.SGD(net.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    generator = torch.Generator().manual_seed(seed)
    values: list[float] = []
    loader = DataLoader(_samples(samples, seed), batch_size=32, shuffle=True)
    if writer is not None:
        writer.watch(net, made, criterion=criterion, config=config)
        loader = writer.wrap(loader)
    for epoch in range(epochs):
        for inputs, targets in loader:
            made.zero_grad()
            criterion(net(inputs), targets).backward()
            made.step()
        with torch.no_grad():
            drawn = torch.randperm(1024, generator=generator)[:subset]
            values.append(criterion(net(held_x[drawn]), held_y[drawn]).item())
        if writer is not None:
            writer.add_scalar("Loss/val", values[-1], epoch)
        if len(values) - 1 - int(np.argmin(values)) >= patience:
            break
    return values


@pytest.mark.parametrize("seed", [0, 1])
def test_a_short_patience_on_a_noisy_held_out_loss(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path, patience=3, seed=seed, config={"epochs": 40, "patience": 3})
    assert len(run.validations) < 30
    (finding,) = findings(early_stop_premature, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("fault", "likely", False)
    assert f"{len(run.epochs)} of 40 planned epochs were trained, 3 validations after the best" in finding.evidence
    assert int(finding.fix.split("= ")[1].split(",")[0]) > 3
    assert "it ended 3 after the best" in finding.fix
    longer, known = train(None, patience=99, seed=seed), [v.value for v in run.validations]
    assert len(longer) == 40
    np.testing.assert_allclose(longer[: len(known)], known)  # the same training
    assert min(longer) < min(known) - 0.1
    assert "early_stop_premature" in [f.cause for f in diagnose(run).findings]


def test_the_patience_alone_makes_it_possible(tmp_path: Path) -> None:
    (finding,) = findings(early_stop_premature, record(tmp_path, patience=3, config={"patience": 3}))
    assert finding.strength == "possible"


def test_a_note_tells_of_the_stop_as_well(tmp_path: Path) -> None:
    (finding,) = findings(early_stop_premature, record(tmp_path, patience=3, note="early stopping"))
    assert finding.strength == "likely"
    assert "a note says" in finding.evidence[0]


def test_without_a_plan_it_is_not_known(tmp_path: Path) -> None:
    said = skipped(early_stop_premature, record(tmp_path, patience=3))
    assert "a patience of" in said.why
    assert '"patience": patience' in said.how


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_loss_that_has_flattened_was_rightly_left(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path, patience=6, seed=seed, subset=1024, lr=0.3, samples=3000, config={"epochs": 60, "patience": 6})
    assert len(run.epochs) < 48
    assert "does not fall beyond its noise" in checked(early_stop_premature, run)


def test_a_plan_that_is_reached_is_the_healthy_twin(tmp_path: Path) -> None:
    run = record(tmp_path, patience=99, epochs=12, config={"epochs": 12, "patience": 99})
    assert "12 of 12 planned epochs were trained: a patience of" in checked(early_stop_premature, run)


def test_a_training_that_is_not_over_is_not_judged(tmp_path: Path) -> None:
    run = record(tmp_path, patience=3, config={"epochs": 40})
    assert "has not come to an end" in checked(early_stop_premature, replace(run, live=True))
