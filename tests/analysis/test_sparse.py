"""Trainings so quick that what costs something is read of some batches only."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import Diagnosis, LossLensWriter, Run, diagnose, load_runs
from tb_losslens.analysis.known import by_turn, is_known
from tb_losslens.analysis.lens import lens
from tb_losslens.analysis.outliers import local_level
from tb_losslens.record import cadence
from tb_losslens.store.run import Ragged

DEAR = ("grad_norm", "grad_norm_at_step", "input_mean", "input_std", "input_nonfinite", "bn_updates")


def train(
    directory: Path, *, sort: bool = False, bad_steps: range = range(0), shift_in: int = -1, epochs: int = 6, seed: int = 0
) -> Run:
    """Eight classes of Gaussian inputs; sorted by class, with noise of 8 sd in a span of steps, or scaled from an epoch on."""
    torch.manual_seed(seed)
    y = torch.arange(1600) % 8
    if sort:
        y = y.sort().values
    x = 0.6 * torch.randn(8, 20)[y] + torch.randn(1600, 20)
    model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 8))
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=0.05), nn.CrossEntropyLoss()
    step = 0
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=16, shuffle=not sort))
        for epoch in range(epochs):
            for inputs, target in loader:
                given: Tensor = inputs
                if step in bad_steps:
                    given = 8 * torch.randn_like(inputs)
                elif 0 <= shift_in <= epoch:
                    given = 3 * inputs + 2
                optimizer.zero_grad()
                loss = criterion(model(given), target)
                loss.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
    (run,) = load_runs(str(directory)).values()
    return run


def read_strictly(run: Run) -> Diagnosis:
    """The diagnosis and all its lenses, with each warning of numpy an error; no cause may have failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        diagnosis = diagnose(run)
        for boundary in diagnosis.boundaries:
            lens(run, diagnosis, boundary.index)
    assert not [skipped for skipped in diagnosis.skipped if "failed" in skipped.why]
    return diagnosis


def thinned(run: Run, *, every: int, unusual: range = range(0)) -> Run:
    """`run` as if only each `every`-th batch, those beside epoch boundaries and `unusual` ones had been looked into."""
    rows = np.arange(len(run))
    index = run.float("index")
    dense = np.select([np.isin(rows, unusual), (index < 5) | (index >= 95), rows % every == 0], [3, 2, 1], 0)
    columns = {name: np.where(dense > 0, run.float(name), np.nan) for name in DEAR if name in run.columns}
    ragged = dict(run.ragged)
    ragged["classes"] = Ragged.from_lists([run.ragged["classes"][k] if dense[k] else [] for k in rows.tolist()])
    return replace(run, columns={**run.columns, **columns, "dense": dense}, ragged=ragged)


def test_a_healthy_run_that_was_recorded_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence, "GRANT", 0.0)  # as if the training had gone on for an hour
    run = train(tmp_path)
    assert 0 < is_known(run, "grad_norm").sum() < 0.9 * len(run)
    diagnosis = read_strictly(run)
    assert [finding.cause for finding in diagnosis.findings if finding.kind in ("fault", "unknown")] == []


@pytest.mark.parametrize("every", [7, 40])
def test_a_healthy_run_has_no_fault(healthy: Run, every: int) -> None:
    run = thinned(healthy, every=every, unusual=range(230, 240))
    diagnosis = read_strictly(run)
    assert [finding.cause for finding in diagnosis.findings if finding.kind in ("fault", "unknown")] == []
    shown = lens(run, diagnosis, 2)
    assert not {"dense", "cadence", "classes", "grad_norm"} & {s["name"] for s in shown["signals"] if s["moved"]}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("healthy"), seed=1)


def test_a_span_of_bad_inputs_is_found_and_is_no_shift(tmp_path: Path) -> None:
    run = train(tmp_path, bad_steps=range(330, 350))
    for every, unusual in ((7, range(330, 345)), (40, range(330, 350))):
        diagnosis = read_strictly(thinned(run, every=every, unusual=unusual))
        assert {finding.cause for finding in diagnosis.findings if finding.kind == "fault"} == {"bad_batch"}
        (finding,) = [f for f in diagnosis.findings if f.cause == "bad_batch"]
        assert finding.detail == "inputs"
        assert finding.steps[0] == 330
        assert set(finding.steps) <= set(range(330, 350))


def test_sorted_data_and_a_shift_show_in_the_dense_rows(tmp_path: Path) -> None:
    run = thinned(train(tmp_path / "sorted", sort=True, epochs=4), every=9)
    assert "incomplete_shuffle" in {finding.cause for finding in read_strictly(run).findings}
    run = thinned(train(tmp_path / "shifted", shift_in=4, epochs=6), every=9)
    (fault,) = [finding for finding in read_strictly(run).findings if finding.kind == "fault"]
    assert (fault.cause, fault.boundaries) == ("input_shift", (3,))


def test_sorted_data_of_which_a_part_of_an_epoch_was_read_has_no_shift(tmp_path: Path) -> None:
    """Its first batches are of the first class, whose inputs are others than those of a whole epoch."""
    run = train(tmp_path, sort=True, epochs=6)
    read = np.arange(len(run)) < run.epochs[5].first + 5
    places = run.ragged["input_sketch"]
    columns = {name: np.where(read, run.float(name), np.nan) for name in ("input_mean", "input_std")}
    few = Ragged.from_lists([places[k] if read[k] else [] for k in range(len(run))])
    said = diagnose(replace(run, columns={**run.columns, **columns}, ragged={**run.ragged, "input_sketch": few}))
    assert "incomplete_shuffle" in {finding.cause for finding in said.findings}
    assert "input_shift" not in {finding.cause for finding in said.findings}


def test_rows_chosen_for_their_loss_are_told_apart() -> None:
    dense = np.array([0, 1, 2, 3, 1, 3, 2], dtype=np.int8)
    run = Run.from_arrays(loss=np.ones(7), dense=dense, epoch=np.array([0, 0, 0, 0, 1, 1, 1]))
    assert by_turn(run).tolist() == [True, True, True, False, True, True, True]  # a whole epoch is no choice
    assert by_turn(Run.from_arrays(loss=np.ones(2))).tolist() == [True, True]


def test_the_level_of_a_signal_that_is_read_seldom_has_a_spread() -> None:
    rng = np.random.default_rng(0)
    values = np.full(6000, np.nan)
    values[::60] = 5 + rng.normal(0, 1, 100)
    level, sigma = local_level(values)
    assert np.isfinite(level).all()
    assert sigma.min() > 0.5
    assert abs(level - 5).max() < 0.5
