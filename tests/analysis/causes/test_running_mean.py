"""A mean since the epoch or the training began, its near neighbours, and raw losses of real trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tb_losslens.analysis.causes import running_mean
from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.finding import Checked, Finding
from tb_losslens.analysis.mean_curve import de_averaged, mean_statistics
from tb_losslens.store.run import Gap, Ragged, Run
from tests.analysis.contexts import checked, findings, outcomes, skipped
from tests.trainings import train

Curve = NDArray[np.float64]

TRAININGS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "gaussian": {"data": "gaussian", "optimizer": "adam", "lr": 3e-3},
    "regression": {"data": "regression", "optimizer": "adam", "lr": 5e-3, "schedule": "cosine"},
    "lstm": {"data": "tokens", "model": "lstm", "optimizer": "adam", "lr": 5e-3, "epochs": 6},
    "by heart": {"data": "wide", "model": "deep", "optimizer": "adam", "lr": 1e-3},
    "batchnorm": {"model": "batchnorm", "optimizer": "momentum", "lr": 0.02},
}


@cache
def trained(name: str) -> Run:
    return train(**{"epochs": 8, **TRAININGS[name]})


def since_epoch(loss: Curve, index: NDArray[np.int64]) -> Curve:
    parts = np.split(loss, np.flatnonzero(index == 0)[1:])
    return np.concatenate([np.cumsum(p) / np.arange(1, len(p) + 1) for p in parts])


def since_training(loss: Curve, index: NDArray[np.int64]) -> Curve:
    return np.cumsum(loss) / np.arange(1, len(loss) + 1)


def ema(decay: float) -> Callable[[Curve, NDArray[np.int64]], Curve]:
    def smooth(loss: Curve, index: NDArray[np.int64]) -> Curve:
        out = loss.copy()
        for row in range(1, len(out)):
            out[row] = decay * out[row - 1] + (1 - decay) * loss[row]
        return out

    return smooth


def window(loss: Curve, index: NDArray[np.int64]) -> Curve:
    return np.array([loss[max(0, row - 9) : row + 1].mean() for row in range(len(loss))])


def logged(name: str, how: Callable[[Curve, NDArray[np.int64]], Curve], *, digits: type = np.float32) -> Run:
    run = trained(name)
    curve = how(run.loss, run.columns["index"]).astype(digits).astype(np.float64)
    return replace(run, columns={**run.columns, "loss": curve})


@pytest.mark.parametrize("name", TRAININGS)
def test_a_mean_since_the_epoch_is_found_and_taken_apart(name: str) -> None:
    run = logged(name, since_epoch)
    (found,) = findings(running_mean, run)
    assert (found.kind, found.strength, found.detail) == ("artifact", "likely", "epoch")
    assert np.allclose(de_averaged(run, "epoch").loss, trained(name).loss, atol=2e-4)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_mean_since_the_training_is_found_where_the_noise_is_steady(name: str) -> None:
    found = findings(running_mean, logged(name, since_training))
    assert [f.detail for f in found] == ["training"] * (name in ("gaussian", "regression"))
    assert not [f for f in found if f.explains_jump]


@pytest.mark.parametrize("power", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("noise", [0.02, 0.2])
@pytest.mark.parametrize(
    "how", [lambda loss, index: loss, ema(0.9), ema(0.99), window], ids=["raw", "ema .9", "ema .99", "window"]
)
def test_power_laws_are_no_running_means(power: float, noise: float, how: Callable[[Curve, NDArray[np.int64]], Curve]) -> None:
    row = np.arange(2000)
    loss = (1 + row / 10) ** -power * np.exp(noise * np.random.default_rng(0).normal(size=2000))
    checked(running_mean, Run.from_arrays(loss=how(loss, row % 100), epoch_length=100))


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize(
    "how", [lambda loss, index: loss, ema(0.9), ema(0.99), window], ids=["raw", "ema .9", "ema .99", "window"]
)
def test_raw_and_smoothed_curves_are_no_running_means(name: str, how: Callable[[Curve, NDArray[np.int64]], Curve]) -> None:
    assert "a mean: i^-1" in checked(running_mean, logged(name, how))


def test_the_restart_accounts_for_the_jumps_it_makes() -> None:
    (found,) = findings(running_mean, logged("gaussian", since_epoch))
    assert found.explains_jump
    assert found.boundaries
    assert found.share is not None
    assert found.share > 0.5


def test_every_tenth_logged_point_is_enough() -> None:
    run = train(epochs=3, data="gaussian", optimizer="adam", lr=1e-3, batch_size=4)
    curve = since_epoch(run.loss, run.columns["index"])
    kept = slice(9, None, 10)
    thin = Run("thin", {k: (curve if k == "loss" else v)[kept] for k, v in run.columns.items()})
    (found,) = findings(running_mean, thin)
    assert found.detail == "epoch"


@pytest.mark.parametrize(("how", "since"), [(since_epoch, "epoch"), (since_training, "training")])
def test_beside_the_raw_loss_it_is_proved(how: Callable[[Curve, NDArray[np.int64]], Curve], since: str) -> None:
    run = trained("mlp")
    curve = how(run.loss, run.columns["index"]).astype(np.float32)
    (found,) = findings(running_mean, replace(run, columns={**run.columns, "logged_loss": curve}))
    assert (found.strength, found.detail) == ("proved", since)
    assert found.explains_jump == (since == "epoch")  # the scalar jumps for it; what is measured is the raw loss
    assert not found.boundaries


def test_what_is_advised_beside_the_raw_loss_is_to_read_it() -> None:
    """The other tests were made on it and on no curve taken apart; nothing has to be recorded anew."""
    run = trained("mlp")
    curve = since_epoch(run.loss, run.columns["index"])
    (beside,) = findings(running_mean, replace(run, columns={**run.columns, "logged_loss": curve}))
    (alone,) = findings(running_mean, replace(run, columns={**run.columns, "loss": curve}))
    assert "taken apart" not in beside.advice
    assert "log_batch" not in beside.fix
    assert "taken apart" in alone.advice
    assert "log_batch" in alone.fix


@pytest.mark.parametrize("how", [lambda loss, index: loss, ema(0.9)], ids=["raw", "ema"])
def test_another_logged_loss_is_no_mean(how: Callable[[Curve, NDArray[np.int64]], Curve]) -> None:
    run = trained("mlp")
    curve = how(run.loss, run.columns["index"])
    assert "is not the mean" in checked(running_mean, replace(run, columns={**run.columns, "logged_loss": curve}))


@pytest.mark.parametrize(("held", "found"), [("all", False), ("the first of each epoch", True)])
def test_a_loss_that_is_known_to_be_of_the_batch_is_no_mean(held: str, found: bool) -> None:
    """A state that begins anew with the epoch, over texts in one order, gives such a curve; the equality tells them apart."""
    run = logged("mlp", since_epoch)
    codes = np.zeros(len(run)) if held == "all" else np.where(run.columns["index"] == 0, 0.0, -1.0)
    facts = {**run.facts, "identities": ["cross_entropy/mean"]}
    known = replace(run, columns={**run.columns, "loss_identity": codes}, facts=facts)
    if found:
        assert [one.detail for one in findings(running_mean, known)] == ["epoch"]
    else:
        assert "cross entropy of output and target" in checked(running_mean, known)


@pytest.mark.parametrize(("same", "found"), [(True, False), (False, True)])
def test_the_losses_of_single_samples_tell_whether_what_is_logged_is_of_the_batch(same: bool, found: bool) -> None:
    run = logged("mlp", since_epoch)
    of_batch = run.loss if same else trained("mlp").loss
    facts = {**run.facts, "identities": ["cross_entropy/mean"], "criterion": {"weighted": False}, "loss_source": "log_batch"}
    lists = {**run.ragged, "per_sample": Ragged.from_lists([[0.5 * one, 1.5 * one] for one in of_batch.tolist()])}
    known = replace(run, columns={**run.columns, "loss_identity": np.zeros(len(run))}, ragged=lists, facts=facts)
    assert bool([one for one in outcomes(running_mean, known) if isinstance(one, Finding)]) == found


def test_too_few_points_abstain() -> None:
    assert "below 12" in skipped(running_mean, Run.from_arrays(loss=np.random.default_rng(0).random(9), epoch_length=3)).why
    short = Run.from_arrays(loss=np.random.default_rng(0).random(90), epoch_length=5)
    assert not [o for o in outcomes(running_mean, short) if getattr(o, "detail", "") == "epoch"]


def test_a_curve_that_shares_its_noise_until_it_is_taken_apart_is_a_mean_though_its_steps_shrink_slowly() -> None:
    run = train(data="gaussian", lr=0.05, epochs=8)
    curve = since_training(run.loss, run.columns["index"])
    (found,) = findings(running_mean, replace(run, columns={**run.columns, "loss": curve}))
    assert found.detail == "training"
    assert checked(running_mean, run)
    outcome = running_mean.find(build_context(replace(run, columns={**run.columns, "loss": curve})), slope_if_shared=-0.8)
    assert isinstance(outcome, Checked)


@pytest.mark.parametrize("keep", [0.99, 0.999])
@pytest.mark.parametrize("power", [0.8, 1.0])
def test_an_exponential_mean_that_starts_anew_is_no_mean_since_the_training_began(power: float, keep: float) -> None:
    row = np.arange(2000)
    loss = (1 + row / 10) ** -power * np.exp(0.02 * np.random.default_rng(0).normal(size=2000))
    parts = [ema(keep)(part, part) for part in np.split(loss, 20)]
    checked(running_mean, Run.from_arrays(loss=np.concatenate(parts), epoch_length=100))


def test_a_curve_whose_steps_shrink_faster_than_those_of_a_mean_is_none() -> None:
    """A raw loss that falls with its noise: relative to its level it is as rough late as early, taken apart or not."""
    rng = np.random.default_rng(0)
    n = np.arange(1000)
    for fall in (100, 150):
        loss = np.exp(-n / fall) * (1 + 0.02 * rng.normal(size=len(n))) + 1e-6 * rng.random(len(n))
        statistics = mean_statistics(loss, n + 1, 12)
        assert statistics is not None
        assert abs(statistics.odds) > 1
        assert findings(running_mean, Run.from_arrays(loss=loss, epoch_length=1000)) == []


def test_a_hole_in_the_recording_is_no_failure() -> None:
    raw = 1 + np.random.default_rng(0).random(400)
    run = replace(Run.from_arrays(loss=raw, logged_loss=raw / 2, epoch_length=100), gaps=(Gap(10, 1200),))
    assert "failed" not in str(running_mean.find(build_context(run)))


@pytest.mark.filterwarnings("error")
def test_losses_that_are_infinite_are_compared_without_a_warning() -> None:
    loss = 1 + 0.1 * np.random.default_rng(0).normal(size=200)
    loss[50] = np.inf
    assert "not the mean" in checked(running_mean, Run.from_arrays(loss=loss, logged_loss=2 * loss, epoch_length=20))
