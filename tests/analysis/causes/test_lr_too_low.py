"""Learning rates with which nothing is learned, and those of usual trainings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import lr_too_low
from tb_losslens.analysis.engine import build_context, decide, diagnose
from tb_losslens.analysis.finding import Checked, Finding
from tb_losslens.analysis.straight import longest_way, slopes, thirds_read
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import build_model, build_optimizer, dataset

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "one_cycle": lambda done: max(0.04, done / 0.3) if done < 0.3 else (1 + math.cos(math.pi * (done - 0.3) / 0.7)) / 2,
    "steps": lambda done: 0.1 ** int(3 * done),
    "exponential": lambda done: 1e-3**done,
    "warm_up": lambda done: done,
    "gone": lambda done: 0.1 ** int(20 * done),
    "early": lambda done: 1e-6**done,
    "early_steps": lambda done: 0.03 ** int(4 * done),
}
"""Part of the training that is over -> factor of the LR."""


def record(
    directory: Path,
    *,
    data: str = "gaussian",
    model: str = "mlp",
    optimizer: str = "adam",
    lr: float = 1e-3,
    epochs: int = 10,
    seed: int = 0,
    schedule: str = "constant",
    clip: float = 0.0,
    before: int = 0,
) -> Run:
    """A real loop whose LR follows one of `SCHEDULES`; `before` are epochs with a usual LR that nobody recorded."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset(data, 800)
    net = build_model(model, x, y)
    made = build_optimizer(optimizer, net, lr)
    classes = y.dtype == torch.long
    criterion = nn.CrossEntropyLoss() if classes else nn.MSELoss()
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    total = epochs * len(loader)
    scheduler = LambdaLR(made, lambda step: SCHEDULES[schedule](step / total))
    first = build_optimizer("adam", net, 1e-3)
    for _ in range(before):
        for inputs, targets in loader:
            first.zero_grad()
            criterion(net(inputs), targets).backward()
            first.step()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, made, scheduler=scheduler, criterion=criterion)
        wrapped = writer.wrap(loader)
        for epoch in range(epochs):
            net.train()
            for inputs, targets in wrapped:
                made.zero_grad()
                output = net(inputs)
                loss = criterion(output if classes else output.squeeze(1), targets)
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(net.parameters(), clip)
                made.step()
                scheduler.step()
            net.eval()
            with torch.no_grad():
                output = net(held_x)
                value = criterion(output if classes else output.squeeze(1), held_y).item()
            writer.add_scalar("Loss/val", value, epoch)
    return load_runs(directory)["."]


@cache
def trained(**options: Any) -> Run:
    with TemporaryDirectory() as directory:
        return record(Path(directory), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1e-5},
        {"lr": 1e-5, "seed": 1, "schedule": "cosine"},
        {"lr": 1e-3, "optimizer": "sgd", "model": "deep"},
        {"lr": 1e-4, "optimizer": "sgd", "data": "regression"},
        {"lr": 1e-5, "data": "tokens", "model": "lstm"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_training_that_ends_as_steeply_as_it_began(options: dict[str, Any]) -> None:
    run = trained(**options)
    (finding,) = findings(lr_too_low, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("fault", "likely", False)
    assert diagnose(run).findings[0].cause == "lr_too_low"
    advised = float(finding.fix.split("= ")[1].split()[0])
    better = trained(**{**options, "lr": advised})
    assert better.loss[-25:].mean() < 0.95 * run.loss[-25:].mean()


def test_a_decay_that_is_over_within_a_few_batches_is_not_measured() -> None:
    assert "is mixed" in checked(lr_too_low, trained(schedule="gone", lr=2e-4))


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 3e-3, "schedule": "early", "epochs": 20},
        {"lr": 1e-3, "schedule": "early", "data": "digits", "model": "deep", "seed": 1},
        {"lr": 0.1, "optimizer": "sgd", "schedule": "early", "data": "digits", "epochs": 20},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_a_decay_that_ends_the_training_while_the_loss_falls(options: dict[str, Any]) -> None:
    run = trained(**options)
    (finding,) = findings(lr_too_low, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "likely", "decay")
    assert finding.steps[0] < 0.4 * len(run)
    assert diagnose(run).findings[0].cause == "lr_too_low"
    better = trained(**{**options, "schedule": "cosine"})
    assert better.loss[-25:].mean() < 0.95 * run.loss[-25:].mean()


def test_a_loss_of_few_digits_is_judged_as_well() -> None:
    """Most of its losses are those of the batch before."""
    row = np.arange(2000)
    rate = np.where(row < 600, 0.1, 1e-4)
    loss = 3 - 2 * np.cumsum(rate) / 60 + 0.003 * np.random.default_rng(0).normal(size=2000)
    slope = -rate * (1 + 0.1 * np.random.default_rng(1).normal(size=2000))
    for digits in (2, 6):
        run = Run.from_arrays(loss=np.round(loss, digits), lr=rate, grad_dot_update=slope, epoch_length=100)
        (finding,) = findings(lr_too_low, run)
        assert finding.detail == "decay"


@pytest.mark.parametrize("schedule", ["early", "early_steps"])
@pytest.mark.parametrize("data", ["gaussian", "digits"])
def test_a_decay_as_early_after_all_was_learned(data: str, schedule: str) -> None:
    assert "is mixed" in checked(lr_too_low, trained(lr=0.03, data=data, schedule=schedule, epochs=20))


def with_ends(run: Run, kind: str, fields: Callable[[int], dict[str, Any]]) -> Run:
    """The same with `fields(k)` in the k-th event of this kind that has an epoch or a value."""
    count = itertools.count()
    return replace(
        run,
        events=tuple(replace(e, fields={**e.fields, **fields(next(count))}) if e.kind == kind else e for e in run.events),
    )


def test_what_does_not_hold_for_other_samples_is_no_loss() -> None:
    """The held-out loss lies where it was at first, far above that of the training."""
    run = trained(lr=3e-3, schedule="early", epochs=20)
    noise = 0.01 * np.random.default_rng(0).normal(size=99)
    other = with_ends(run, "validation_end", lambda k: {"value": float(run.loss[0] + noise[k])})
    assert "held-out loss asks for" in checked(lr_too_low, other)


@pytest.mark.parametrize(
    ("name", "fix"), [("ExponentialLR", "gamma=0.7943"), ("StepLR", "step_size=6"), ("MultiStepLR", "T_max=20")]
)
@pytest.mark.parametrize("unit", [1, 25])
def test_the_schedule_that_is_advised(name: str, fix: str, unit: int) -> None:
    """By the class of the scheduler, and by how many of its steps an epoch of 25 batches has."""
    run = trained(lr=3e-3, schedule="early", epochs=20)
    run = with_ends(run, "epoch_end", lambda k: {"schedule": [{"steps": [(k + 1) * unit]}]})
    (finding,) = findings(lr_too_low, replace(run, facts={**run.facts, "scheduler": {"class": name, "gamma": 0.5}}))
    assert (f"`{name}` was stepped once a batch" in finding.advice) == (unit == 25)
    assert ("scheduler.step()         # once an epoch" if unit == 25 else fix) in finding.fix


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "steps", "exponential"])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 1e-3},
        {"lr": 3e-4, "data": "digits", "model": "deep"},
        {"lr": 0.01, "optimizer": "sgd", "data": "regression"},
        {"lr": 2e-3, "data": "wide", "model": "deep"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_the_schedules_of_usual_trainings(schedule: str, options: dict[str, Any]) -> None:
    assert not findings(lr_too_low, trained(schedule=schedule, **options))


def test_an_lr_that_still_rises_is_not_judged() -> None:
    assert "is mixed" in checked(lr_too_low, trained(schedule="warm_up", lr=1e-5))


def test_updates_that_are_small_by_clipping() -> None:
    run = trained(lr=0.05, optimizer="sgd", clip=1e-3)
    assert "clipped to a tenth" in checked(lr_too_low, run)


def test_a_short_training_is_not_judged() -> None:
    assert "too few" in checked(lr_too_low, trained(lr=1e-5, epochs=3))


def test_a_training_that_was_stopped_long_before_its_end_is_not_judged() -> None:
    """What ends early ends as steeply as it began, whatever its LR; that nobody knows who stopped it is no such reason."""
    context = build_context(trained(lr=1e-5))
    stop = Finding("early_stop_premature", "fault", "likely", "", "")
    (said,) = decide(lr_too_low, replace(context, earlier=(stop,)))
    assert isinstance(said, Checked)
    assert "what ends early" in said.text
    (said,) = decide(lr_too_low, replace(context, earlier=(replace(stop, strength="possible"),)))
    assert isinstance(said, Finding)
    for planned, told in ((12, True), (40, False)):
        run = trained(lr=1e-5)
        other = replace(run, facts={**run.facts, "config": {"epochs": planned}})
        assert bool(findings(lr_too_low, other)) == told


def test_a_good_model_that_is_tuned_gently_is_not_judged() -> None:
    """The same small updates, from a loss far below that of the best constant."""
    assert findings(lr_too_low, trained(lr=1e-5))
    assert not findings(lr_too_low, trained(lr=1e-5, before=10))


@pytest.mark.parametrize(("left", "told"), [(0.42, True), (0.25, False)])
def test_a_first_descent_that_is_steeper(left: float, told: bool) -> None:
    """What an untrained output loses to begin with is steep; a third of that later is still the begin of the way."""
    run = trained(lr=1e-5)
    thirds = thirds_read(run)
    assert thirds is not None
    slope = run.float("grad_dot_update").copy()
    slope[thirds[1][0] :] *= left / slopes(run, *thirds).left
    assert bool(findings(lr_too_low, replace(run, columns={**run.columns, "grad_dot_update": slope}))) == told


def test_without_the_size_of_updates_it_is_skipped() -> None:
    run = trained(lr=1e-5)
    bare = replace(run, ragged={name: lists for name, lists in run.ragged.items() if name != "layer_update_ratio"})
    assert "size of the updates" in skipped(lr_too_low, bare).why


def test_the_slope_of_a_straight_way_and_the_way_itself() -> None:
    """For SGD on a few samples the slope for an LR of 1 is less the square of the gradient, which the recorder saw."""
    run = trained(lr=1e-4, optimizer="sgd", data="regression")
    seen = slopes(run, (0, 80), (160, 240))
    known = np.isfinite(run.float("grad_dot_update"))
    mean = np.nanmean(run.float("grad_dot_update")[160:240][known[160:240]]) / 1e-4
    assert seen.after == pytest.approx(mean)
    assert -np.nanmean(run.float("grad_norm") ** 2) < seen.after < 0
    assert seen.left == pytest.approx(1.0, abs=0.3)
    way, name = longest_way(run)
    assert name.endswith("weight")
    assert 0 < way < 0.1
