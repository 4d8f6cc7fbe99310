"""A loss that is logged as an exponential mean or over a window, beside the raw one: an equality, and its near neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import memorization, smoothed_metric
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import build_model, dataset
from tests.trainings import train

Curve = NDArray[np.float64]
Smooth = Callable[[Curve, NDArray[np.int64]], Curve]


@cache
def trained(data: str) -> Run:
    return train(data=data, optimizer="adam", lr=2e-3, epochs=8)


def exponential(keep: float, *, anew: bool = False) -> Smooth:
    def smooth(loss: Curve, index: NDArray[np.int64]) -> Curve:
        out = loss.copy()
        for row in range(1, len(out)):
            if index[row] or not anew:
                out[row] = keep * out[row - 1] + (1 - keep) * loss[row]
        return out

    return smooth


def window(size: int) -> Smooth:
    return lambda loss, index: np.array([loss[max(0, row - size + 1) : row + 1].mean() for row in range(len(loss))])


def since_epoch(loss: Curve, index: NDArray[np.int64]) -> Curve:
    parts = np.split(loss, np.flatnonzero(index == 0)[1:])
    return np.concatenate([np.cumsum(p) / np.arange(1, len(p) + 1) for p in parts])


def beside(data: str, how: Smooth) -> Run:
    """The raw loss is known, and the user logs another curve."""
    run = trained(data)
    curve = how(run.loss, run.columns["index"]).astype(np.float32).astype(np.float64)
    return replace(run, columns={**run.columns, "logged_loss": curve})


def alone(data: str, how: Smooth) -> Run:
    """Only the curve that the user logs is known."""
    run = trained(data)
    columns = {**run.columns, "loss": how(run.loss, run.columns["index"]).astype(np.float32).astype(np.float64)}
    return replace(run, columns=columns, facts={k: v for k, v in run.facts.items() if k != "loss_source"})


@pytest.mark.parametrize("data", ["digits", "regression"])
@pytest.mark.parametrize("keep", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("anew", [False, True])
def test_an_exponential_mean_is_proved(data: str, keep: float, anew: bool) -> None:
    (found,) = findings(smoothed_metric, beside(data, exponential(keep, anew=anew)))
    assert (found.kind, found.strength, found.detail) == ("artifact", "proved", "exponential")
    assert f"equals {keep:g} of the value before" in found.evidence[0]
    assert any("begins anew at 7 of 7 boundaries" in line for line in found.evidence) == anew


@pytest.mark.parametrize("size", [2, 10, 100])
def test_a_mean_over_a_window_is_proved(size: int) -> None:
    (found,) = findings(smoothed_metric, beside("digits", window(size)))
    assert (found.strength, found.detail, found.explains_jump) == ("proved", "window", False)
    assert f"the mean of the last {size} losses" in found.evidence[0]


def test_a_mean_that_begins_anew_makes_the_jumps_that_the_raw_loss_does_not_have() -> None:
    diagnosis = diagnose(beside("digits", exponential(0.98, anew=True)))
    first = diagnosis.findings[0]
    assert (first.cause, first.explains_jump) == ("smoothed_metric", True)
    assert "the batch loss does not" in first.text
    (steady,) = findings(smoothed_metric, beside("digits", exponential(0.98)))
    assert not steady.explains_jump


@pytest.mark.parametrize("every", [1, 5])
def test_the_writer_records_what_proves_it(tmp_path: Path, every: int) -> None:
    """Logged in every fifth batch only, there are no neighbours to compare: nothing is claimed."""
    torch.manual_seed(0)
    x, y, _, _ = dataset("digits", 800)
    net, criterion, mean, step = build_model("mlp", x, y), nn.CrossEntropyLoss(), 0.0, 0
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(net, opt, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for _ in range(5):
            for index, (inputs, targets) in enumerate(loader):
                loss = criterion(net(inputs), targets)
                opt.zero_grad()
                loss.backward()
                opt.step()
                mean = loss.item() if index == 0 else 0.98 * mean + 0.02 * loss.item()
                if step % every == 0:
                    writer.add_scalar("Loss/train", mean, step)
                step += 1
    (run,) = load_runs(str(tmp_path)).values()
    if every > 1:
        assert "no exponential mean" in checked(smoothed_metric, run)
        return
    (found,) = findings(smoothed_metric, run)
    assert "equals 0.98 of the value before and 0.02 of the batch loss" in found.evidence[0]
    assert any("begins anew at 4 of 4 boundaries" in line for line in found.evidence)


def _noisy(loss: Curve, index: NDArray[np.int64]) -> Curve:
    return exponential(0.9)(loss, index) * (1 + 1e-3 * np.random.default_rng(0).normal(size=len(loss)))


def _changing(loss: Curve, index: NDArray[np.int64]) -> Curve:
    half = len(loss) // 2
    return np.concatenate([exponential(0.9)(loss[:half], index[:half]), exponential(0.5)(loss[half:], index[half:])])


@pytest.mark.parametrize(
    "how",
    [lambda loss, index: loss, lambda loss, index: 2 * loss, since_epoch, _noisy, _changing, lambda loss, index: 0 * loss + 1],
    ids=["raw", "scaled", "running mean", "nearly", "two constants", "constant"],
)
def test_another_curve_beside_it_is_no_smoothing(how: Smooth) -> None:
    assert "no exponential mean" in checked(smoothed_metric, beside("digits", how))


def test_without_the_raw_loss_nothing_is_claimed() -> None:
    said = skipped(smoothed_metric, alone("regression", exponential(0.95)))
    assert "of its noise with the one before" in said.why
    assert said.how == "writer.log_batch(loss)"
    assert "neighbouring values share" in checked(smoothed_metric, trained("regression"))


def test_the_drops_of_a_mean_that_begins_anew_are_not_surely_memorisation() -> None:
    assert "no drop" in checked(memorization, trained("wide"))
    (found,) = findings(memorization, alone("wide", exponential(0.98, anew=True)))
    assert (found.strength, found.share) == ("possible", None)
    assert "since the model has seen" not in found.text
    assert any("a mean that starts anew drops, too" in line for line in found.against)
    assert "writer.log_batch(loss)" in found.missing


def corrected(keep: float) -> Smooth:
    """Begun at 0 and divided by `1 - keep^i`, as progress bars of fastai do."""

    def smooth(loss: Curve, index: NDArray[np.int64]) -> Curve:
        moment, out = 0.0, np.empty(len(loss))
        for row, value in enumerate(loss):
            moment = keep * moment + (1 - keep) * value
            out[row] = moment / (1 - keep ** (row + 1))
        return out

    return smooth


@pytest.mark.parametrize("data", ["digits", "regression"])
@pytest.mark.parametrize("keep", [0.5, 0.9, 0.98])
def test_a_mean_that_corrects_its_bias_is_proved(data: str, keep: float) -> None:
    run = beside(data, corrected(keep))
    (finding,) = findings(smoothed_metric, run)
    assert (finding.strength, finding.detail, finding.explains_jump) == ("proved", "exponential", False)
    assert f"{keep:g} of the value before" in finding.text
    assert "corrected for its begin at 0" in finding.text


def test_a_mean_that_forgets_nothing_within_the_run_is_a_running_mean() -> None:
    checked(smoothed_metric, beside("digits", corrected(0.99999)))


def logged_by(directory: Path, smooth: Callable[[float, list[float]], float], *, batch_size: int = 16) -> Run:
    """A training with `F.cross_entropy` that hands nothing but `smooth(loss, losses so far)` to TensorBoard."""
    torch.manual_seed(0)
    x, y, _, _ = dataset("digits", 800)
    net, seen = build_model("mlp", x, y), list[float]()
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, opt)
        for _ in range(4 if batch_size < 400 else 100):
            if not seen:
                loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True))
            for inputs, targets in loader:
                loss = nn.functional.cross_entropy(net(inputs), targets)
                opt.zero_grad()
                loss.backward()
                opt.step()
                seen.append(loss.item())
                writer.add_scalar("Loss/train", smooth(loss.item(), seen), len(seen) - 1)
    (run,) = load_runs(str(directory)).values()
    return run


def ema(keep: float) -> Callable[[float, list[float]], float]:
    mean = float("nan")

    def smooth(loss: float, seen: list[float]) -> float:
        nonlocal mean
        mean = loss if len(seen) == 1 else keep * mean + (1 - keep) * loss
        return mean

    return smooth


@pytest.mark.parametrize("smooth", [ema(0.95), lambda loss, seen: float(np.mean(seen[-20:]))], ids=["exponential", "window"])
def test_a_mean_that_begins_with_the_loss_of_a_batch_is_likely(
    tmp_path: Path, smooth: Callable[[float, list[float]], float]
) -> None:
    (found,) = findings(smoothed_metric, logged_by(tmp_path, smooth))
    assert (found.kind, found.strength, found.explains_jump) == ("artifact", "likely", False)
    assert found.missing == ("writer.log_batch(loss)",)


@pytest.mark.parametrize(
    ("smooth", "batch_size"),
    [
        (lambda loss, seen: loss, 16),
        (lambda loss, seen: loss + 0.01 * (len(seen) - 1), 16),  # a term that is 0 at first and grows
        (ema(0.95), 800),  # batches of all samples
    ],
    ids=["raw", "another term", "whole data set"],
)
def test_what_else_is_a_batch_loss_at_first_is_none(
    tmp_path: Path, smooth: Callable[[float, list[float]], float], batch_size: int
) -> None:
    diagnosis = diagnose(logged_by(tmp_path, smooth, batch_size=batch_size))
    assert not [f for f in diagnosis.findings if f.cause == "smoothed_metric"]
