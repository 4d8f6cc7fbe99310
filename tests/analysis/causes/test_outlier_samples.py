"""Samples in another unit that come back in every epoch, heavy tails, and batches that are bad for a while only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tb_losslens.analysis.causes import outlier_samples
from tb_losslens.analysis.engine import diagnose
from tb_losslens.record import cadence
from tests.analysis.contexts import checked, findings
from tests.analysis.recorded import Change, record

BAD = (3, 77, 410, 600, 921)


@pytest.fixture(autouse=True)
def every_batch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it depends on the load of the machine of which batches the samples are looked at."""
    monkeypatch.setattr(cadence, "GRANT", 1e9)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1e9)


def one_in(count: int, factor: float) -> Change:
    return lambda i, x, y: (x * factor, y) if i % count == 0 else (x, y)


@pytest.mark.parametrize(("count", "factor", "optimizer", "lr"), [(10, 255.0, "adam", 2e-3), (10, 20.0, "sgd", 0.02)])
def test_a_tenth_of_the_data_in_another_unit(tmp_path: Path, count: int, factor: float, optimizer: str, lr: float) -> None:
    run = record(tmp_path, change=one_in(count, factor), optimizer=optimizer, lr=lr)
    (finding,) = findings(outlier_samples, run)
    assert (finding.kind, finding.detail, finding.explains_jump) == ("fault", "mixed_formats", False)
    named = [int(word) for word in finding.fix.split("[")[1].split("]")[0].split(",")]
    assert named
    assert all(i % count == 0 for i in named)
    assert "outlier_samples" in [f.cause for f in diagnose(run).findings]


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.05), ("adam", 2e-3)])
def test_five_samples_that_are_far_out(tmp_path: Path, optimizer: str, lr: float) -> None:
    def change(i: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (x * 255, y) if i in BAD else (x, y)

    found = [f for f in diagnose(record(tmp_path, change=change, optimizer=optimizer, lr=lr)).findings if f.kind == "fault"]
    (finding,) = [f for f in found if f.cause == "outlier_samples"]
    assert finding.detail == "extreme"
    assert str(list(BAD)) in finding.fix


@pytest.mark.parametrize("data", ["digits", "gaussian", "regression"])
def test_the_healthy_twin(tmp_path: Path, data: str) -> None:
    assert "no sample stands apart" in checked(outlier_samples, record(tmp_path, data=data))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tail", ["lognormal", "pareto"])
def test_a_heavy_tail_has_no_outliers(tmp_path: Path, seed: int, tail: str) -> None:
    """The same samples are the largest in every epoch, and their losses are large."""
    draw = torch.Generator().manual_seed(seed)
    factor = torch.randn(1000, generator=draw).exp() if tail == "lognormal" else 1 / torch.rand(1000, generator=draw)
    run = record(tmp_path, seed=seed, change=lambda i, x, y: (x * factor[i], y))
    assert not findings(outlier_samples, run)


def test_no_effect_no_finding(tmp_path: Path) -> None:
    """The first thing that the net does is to bring all samples to one scale."""

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.body(x / x.mean(1, keepdim=True).clamp(min=1e-6))
            return out

    text = checked(outlier_samples, record(tmp_path, model=Scaled(), change=one_in(33, 255.0)))
    assert "stand apart by their mean, without an effect that shows" in text


def test_a_span_of_batches_is_left_to_bad_batch(tmp_path: Path) -> None:
    """The samples are fine whenever they come again."""
    count = 0

    def change(_: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal count
        count += 1
        return (x * 255 if 2000 <= count < 2200 else x), y

    run = record(tmp_path, change=change)
    assert not findings(outlier_samples, run)
    assert "bad_batch" in [f.cause for f in diagnose(run).findings]
