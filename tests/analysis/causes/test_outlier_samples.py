"""Samples in another unit that come back in every epoch, heavy tails, and batches that are bad for a while only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tb_losslens.analysis.causes import outlier_samples
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.wide_samples import of_two_spreads, wide_samples
from tb_losslens.record import cadence
from tb_losslens.store.run import Ragged, Run
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


@pytest.mark.parametrize("batch_size", [16, 32])
def test_samples_of_another_unit_around_zero_are_named_by_the_batches_without_them(tmp_path: Path, batch_size: int) -> None:
    run = record(tmp_path, data="regression", change=one_in(50, 100.0), batch_size=batch_size, epochs=20)
    (finding,) = findings(outlier_samples, run)
    assert (finding.kind, finding.detail) == ("fault", "mixed_formats")
    assert [int(word) for word in finding.fix.split("[")[1].split("]")[0].split(",")] == list(range(0, 1000, 50))
    assert "have a spread of" in finding.text


def test_those_that_are_easier_with_it_are_mentioned_only(tmp_path: Path) -> None:
    """Classes that lie apart lie further apart: the outputs are surer, and right."""
    text = checked(outlier_samples, record(tmp_path, data="gaussian", change=one_in(50, 100.0), epochs=20))
    assert "stand apart by their spread, without an effect that shows" in text


@pytest.mark.parametrize("seed", range(3))
def test_a_heavy_tail_on_both_sides_has_none(tmp_path: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tail = torch.randn(1000, 1, generator=generator) / torch.rand(1000, 1, generator=generator).sqrt().clamp_min(1e-3)

    def change(i: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * tail[i].abs(), y

    assert "no sample stands apart" in checked(outlier_samples, record(tmp_path, data="gaussian", change=change, epochs=12))


def test_whole_batches_of_another_unit_are_no_samples(tmp_path: Path) -> None:
    """The same samples together in every epoch: which of them it is cannot be told by the spread."""
    run = record(tmp_path, data="gaussian", shuffle=False, change=lambda i, x, y: (x * 100 if i < 320 else x, y))
    assert wide_samples(run) is None
    assert len(of_two_spreads(run)[0]) == 80


def test_a_spread_that_no_sample_is_known_to_make_is_said() -> None:
    """In one batch of ten, with new samples in each: none of them comes in another one."""
    rows = np.arange(400)
    spread = np.where(rows % 10 == 3, 60.0, 1.0) * (1 + 0.01 * np.random.default_rng(0).normal(size=400))
    levels = {f"sample_level_{name}": rows * 1e-4 + k for k, name in enumerate(("min", "median", "max"))}
    run = Run.from_arrays(loss=1 + 0.1 * np.cos(rows), epoch_length=100, input_std=spread, batch_size=np.full(400, 8), **levels)
    run = replace(run, ragged={"sample_ids": Ragged(np.arange(3200), np.arange(0, 3201, 8))})
    said = checked(outlier_samples, run)
    assert "the spread of 40 batches lies apart, and which samples make it is not known yet" in said
