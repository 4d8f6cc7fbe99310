"""Held-out losses that rise at once: with a reason, without one, and such as only look like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import validation_spike
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.finding import Finding, Kind
from tb_losslens.store.run import Run
from tests.analysis.causes.test_batchnorm_drift import once, set_back
from tests.analysis.causes.test_batchnorm_drift import trained as with_batchnorm
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset
from tests.trainings import train

SPIKE = 5
"""The validation that is high, in the trainings below."""


@cache
def plain() -> Run:
    return train(epochs=12)


def with_values(values: Sequence[float]) -> Run:
    """A training of 12 epochs, with other values for its validations."""
    run, left = plain(), list(values)
    events = tuple(
        replace(e, fields={**e.fields, "value": left.pop(0) if left else None}) if e.kind == "validation_end" else e
        for e in run.events
    )
    return replace(run, events=events)


def falling(noise: float = 0.01, seed: int = 0) -> list[float]:
    rng = np.random.default_rng(seed)
    return (0.3 + 1.2 * np.exp(-np.arange(12) / 2) + noise * rng.normal(size=12)).tolist()


def recorded(directory: Path, *, held_labels: bool = False, held_samples: int = 400, epochs: int = 9) -> Run:
    """A small MLP; `held_labels`: the labels of one validation are mixed up; else each one is on other samples."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset("gaussian")
    model, criterion = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10)), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for epoch in range(epochs):
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = criterion(model(inputs), targets)
                loss.backward()
                optimizer.step()
                writer.log_batch(loss)
            chosen = torch.randperm(len(held_x))[:held_samples]
            labels = held_y[chosen]
            if held_labels and epoch == SPIKE:
                labels = labels[torch.randperm(len(labels))]
            with torch.no_grad():
                writer.log_validation(float(criterion(model(held_x[chosen]), labels)))
    return load_runs(directory)["."]


def test_it_is_named_by_what_was_found(tmp_path: Path) -> None:
    said = diagnose(with_batchnorm(tmp_path, once(set_back), probe=False))
    found = {finding.cause: finding for finding in said.findings}
    spike = found["validation_spike"]
    assert (spike.kind, spike.detail) == ("fault", "transient")
    assert spike.steps == found["batchnorm_drift"].steps
    assert "It comes with `batchnorm_drift`" in spike.text
    assert said.findings[-1] is spike
    assert spike.fix == found["batchnorm_drift"].fix


def test_without_a_reason_it_is_unknown_and_never_a_fault(tmp_path: Path) -> None:
    run = recorded(tmp_path, held_labels=True)
    (finding,) = findings(validation_spike, run)
    assert (finding.kind, finding.strength, finding.detail) == ("unknown", "possible", "transient")
    assert finding.steps == ((SPIKE + 1) * 50 - 1,)
    assert "Nothing that was recorded says why" in finding.text
    assert "it stays in trend" in " ".join(finding.evidence)
    assert "writer.set_probe" in finding.missing[0]
    said = diagnose(run)
    assert [f.cause for f in said.findings if f.kind == "fault"] == []
    assert said.findings[-1].cause == "validation_spike"


def test_validations_on_few_samples_are_noise(tmp_path: Path) -> None:
    run = recorded(tmp_path, held_samples=8, epochs=20)
    assert np.ptp([v.value for v in run.validations[5:]]) > 0.5
    assert "at most from one of 20 validations to the next" in checked(validation_spike, run)


def test_healthy_training_has_none() -> None:
    assert "of what was learned" in checked(validation_spike, plain())


@pytest.mark.parametrize(
    ("high", "detail"),
    [((6,), "transient"), ((6, 7, 8), "slow"), ((6, 7, 8, 9, 10, 11), "not_recovered"), ((11,), "at_end")],
)
def test_how_it_ends(high: tuple[int, ...], detail: str) -> None:
    values = [value + (1.0 if k in high else 0.0) for k, value in enumerate(falling())]
    (finding,) = findings(validation_spike, with_values(values))
    assert finding.detail == detail
    assert len(finding.steps) == 1
    back = f"and is back {len(high)} validation" if high[-1] < 11 else f"is not back {11 - high[0]} validation"
    assert back in finding.text


def test_two_spikes_are_one_finding() -> None:
    values = [value + (1.0 if k in (4, 9) else 0.0) for k, value in enumerate(falling())]
    (finding,) = findings(validation_spike, with_values(values))
    assert len(finding.steps) == 2
    assert "and at 1 other place" in finding.text


@pytest.mark.parametrize(
    "values",
    [
        falling(),
        falling(0.1, 1),
        [1.0, 0.8, 0.6, *(0.6 + 0.15 * np.arange(9)).tolist()],  # overfitting: it rises all the time
        [0.5] * 12,
        [1.0, 0.4] * 6,
        [value + 0.05 * (k == 6) for k, value in enumerate(falling(0.0))],  # stands apart, and is next to nothing
    ],
    ids=["falling", "noisy", "overfitted", "constant", "in turns", "tiny"],
)
def test_no_spike(values: list[float]) -> None:
    assert "validations to the next" in checked(validation_spike, with_values(values))


def test_a_cause_that_acts_elsewhere_is_no_reason() -> None:
    values = [value + (1.0 if k == 6 else 0.0) for k, value in enumerate(falling())]
    run = with_values(values)
    context = build_context(run)
    row = int(run.validations[6].batch)

    def after(step: int, cause: str = "bad_batch", kind: Kind = "fault") -> Finding:
        earlier = Finding(cause, kind, "likely", "bad", "A bad batch.", steps=(step,))
        found = validation_spike.find(_with(context, earlier))
        assert isinstance(found, list)
        assert isinstance(found[0], Finding)
        return found[0]

    assert after(row - 1).kind == "fault"
    assert after(row - len(run) // 12).kind == "fault"
    assert after(row).kind == "unknown"
    assert after(row - len(run) // 12 - 1).kind == "unknown"
    # a last batch that is small strays in the curve of the training, and moves no held-out loss; one that is a fault may
    assert after(row - 1, "partial_last_batch", "artifact").kind == "unknown"
    assert after(row - 1, "partial_last_batch").kind == "fault"


def _with(context: Context, earlier: Finding) -> Context:
    return replace(context, earlier=(earlier,))


def test_what_is_missing_is_said() -> None:
    run = plain()
    bare = replace(run, events=tuple(e for e in run.events if not e.kind.startswith("validation")))
    assert "val_loader" in skipped(validation_spike, bare).how
    assert "too few" in checked(validation_spike, with_values([1.0, 0.5, 2.0]))
