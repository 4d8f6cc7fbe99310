"""ReduceLROnPlateau that cuts on noise, that waits for the wrong way, that waits for long, and that does as it should."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import plateau_scheduler
from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.analysis.plateau import BATCH, HELD_OUT, Settings, followed, replay, settings_of
from tb_losslens.analysis.plateau_cuts import by_transfer
from tb_losslens.analysis.plateau_mode import loss_under_max
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import build_model, build_optimizer, dataset


def record(
    directory: Path,
    *,
    data: str = "gaussian",
    model: str = "mlp",
    optimizer: str = "adam",
    lr: float = 1e-3,
    epochs: int = 10,
    seed: int = 0,
    metric: str = "held_out",
    held_out: int = 400,
    samples: int = 800,
    drawn: bool = False,
    **settings: Any,
) -> Run:
    """A real loop; `metric` is what the scheduler is given: held_out, train, last, accuracy or batch (after each of them).

    With `drawn` each validation has other samples.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset(data, samples)
    net = build_model(model, x, y)
    made = build_optimizer(optimizer, net, lr)
    scheduler = ReduceLROnPlateau(made, **settings)
    classes = y.dtype == torch.long
    criterion = nn.CrossEntropyLoss() if classes else nn.MSELoss()
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, made, scheduler=scheduler, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for epoch in range(epochs):
            losses = []
            net.train()
            for inputs, targets in loader:
                made.zero_grad()
                output = net(inputs)
                loss = criterion(output if classes else output.squeeze(1), targets)
                loss.backward()
                made.step()
                losses.append(loss.item())
                if metric == "batch":
                    scheduler.step(loss.item())
            net.eval()
            chosen = torch.randperm(len(held_x))[:held_out] if drawn else torch.arange(len(held_x))[:held_out]
            with torch.no_grad():
                output = net(held_x[chosen])
                value = criterion(output if classes else output.squeeze(1), held_y[chosen]).item()
                right = (output.argmax(1) == held_y[chosen]).float().mean().item()
            writer.add_scalar("Loss/val", value, epoch)
            given = {"held_out": value, "train": sum(losses) / len(losses), "accuracy": right, "last": losses[-1]}
            if metric != "batch":
                scheduler.step(given[metric])
    return load_runs(directory)["."]


@cache
def trained(**options: Any) -> Run:
    with TemporaryDirectory() as directory:
        return record(Path(directory), **options)


def fits(run: Run) -> list[str]:
    settings = settings_of(run)
    assert settings is not None
    return [one.metric for one in followed(build_context(run), settings)]


def test_a_patience_of_batches_cuts_on_their_noise() -> None:
    run = trained(metric="batch", patience=10)
    assert fits(run) == [BATCH]
    (finding,) = findings(plateau_scheduler, run)
    assert (finding.kind, finding.strength, finding.detail, finding.explains_jump) == ("fault", "likely", "too_eager", False)
    rate = run.float("lr")
    cuts = np.flatnonzero(np.diff(rate) < 0) + 1
    assert list(finding.steps) == run.step[cuts].tolist()
    assert f"the LR cut {len(cuts)} times" in finding.text
    assert "replayed on the loss of each batch" in finding.evidence[0]
    assert "scheduler.step(total / len(train_loader))" in finding.fix
    compile(finding.fix, "fix", "exec")
    assert diagnose(run).findings[0].cause == "plateau_scheduler"


def test_the_cut_cost_what_is_said() -> None:
    """The twin with the same seed and a patience that is never spent learns what the other one does not."""
    run, twin = trained(metric="batch", patience=10), trained(metric="batch", patience=10_000)
    (finding,) = findings(plateau_scheduler, run)
    lost = float(run.loss[-50:].mean() - twin.loss[-50:].mean())
    assert lost > 0.1 * float(twin.loss[:10].mean() - twin.loss[-50:].mean())
    assert "cannot be spent in 250 steps" in checked(plateau_scheduler, twin)
    assert finding.confirm.startswith(f"Go on from step {finding.steps[0]:,} with the LR left at 0.001")


@pytest.mark.parametrize(
    ("options", "mode"),
    [({"metric": "held_out", "mode": "max"}, "min"), ({"metric": "accuracy"}, "max")],
)
def test_a_mode_that_is_not_that_of_the_metric(options: dict[str, Any], mode: str) -> None:
    (finding,) = findings(plateau_scheduler, trained(patience=1, factor=0.3, **options))
    assert finding.detail == "too_eager"
    assert "every 2 steps" in finding.text
    assert f"mode={mode!r}" in finding.fix
    assert f"it is {mode!r}" in finding.advice


def test_one_odd_batch_an_epoch_is_no_plateau() -> None:
    """The twins differ in nothing but what the scheduler is given."""
    options: dict[str, Any] = {"data": "digits", "lr": 5e-4, "patience": 0, "epochs": 12}
    (finding,) = findings(plateau_scheduler, trained(metric="last", **options))
    assert finding.detail == "too_eager"
    assert "of the last batch of the epoch" in finding.text
    assert "made 0 cuts" in checked(plateau_scheduler, trained(metric="train", **options))


def test_a_plateau_that_was_kept_for_half_of_the_run() -> None:
    options: dict[str, Any] = {"data": "plane", "model": "linear", "lr": 0.1, "epochs": 24, "threshold": 0.01}
    run = trained(patience=12, **options)
    (finding,) = findings(plateau_scheduler, run)
    assert (finding.kind, finding.detail, finding.explains_jump) == ("fault", "too_late", False)
    row = int(np.flatnonzero(np.diff(run.float("lr")) < 0)[0]) + 1
    assert finding.steps == (int(run.step[row]),)
    assert "waited for 13 steps" in finding.evidence[0]
    assert "patience=4" in finding.fix
    assert "after it" in checked(plateau_scheduler, trained(patience=2, **options))


@pytest.mark.parametrize(
    "options",
    [
        {"data": "plane", "model": "linear", "lr": 0.1, "patience": 1, "factor": 0.3, "metric": "train", "epochs": 14},
        {"data": "plane", "model": "linear", "lr": 0.1, "patience": 2, "factor": 0.1, "metric": "train", "epochs": 20},
        {"lr": 0.01, "patience": 1, "factor": 0.3, "epochs": 14},
        {"lr": 0.1, "optimizer": "sgd", "patience": 1, "factor": 0.5, "epochs": 14},
        {"data": "wide", "lr": 0.003, "patience": 1, "factor": 0.1, "epochs": 14},
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_cuts_of_a_plateau_are_what_the_scheduler_is_for(options: dict[str, Any], seed: int) -> None:
    said = checked(plateau_scheduler, trained(seed=seed, **options))
    assert "cut" in said


def test_cuts_after_which_nothing_falls_any_more_are_too_eager_where_what_was_learned_holds_for_others() -> None:
    """The LR is gone after a few epochs, so that the held-out loss, which is noisy, cannot show that it would have fallen."""
    run = trained(optimizer="sgd", lr=0.02, patience=0, held_out=30, drawn=True, epochs=16)
    assert run.float("lr")[-1] < 1e-4 * run.float("lr")[0]
    (finding,) = findings(plateau_scheduler, run)
    assert (finding.detail, finding.strength) == ("too_eager", "likely")


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("learned", "part"), [("of all", 1.0), ("by heart", 0.0)])
def test_the_updates_tell_what_is_learned_of_other_samples(learned: str, part: float, seed: int) -> None:
    """What an update does for the next batch makes the whole fall, or, where a wide network has passed its data often, none."""
    by_heart = {"data": "wide", "model": "deep", "samples": 400, "epochs": 12}
    options: dict[str, Any] = {"lr": 2e-4} if learned == "of all" else by_heart
    run = trained(**options, patience=99, seed=seed)
    epochs = run.epochs
    first, last = (0, epochs[3].last) if learned == "of all" else (epochs[5].first, epochs[-1].last)
    assert by_transfer(run, first, last) == pytest.approx(part, abs=0.35)
    assert run.loss[last - 20 : last].mean() < 0.95 * run.loss[first : first + 20].mean()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_cuts_on_a_held_out_loss_that_is_too_noisy_to_tell(seed: int) -> None:
    """Other samples in each validation, few of them, and an LR that needs all of its epochs."""
    run = trained(lr=1e-4, epochs=20, held_out=24, drawn=True, patience=0, factor=0.1, seed=seed)
    (finding,) = findings(plateau_scheduler, run)
    assert (finding.detail, finding.strength) == ("too_eager", "likely")


def test_learning_by_heart_is_a_plateau_of_the_held_out_loss() -> None:
    """The training loss goes on falling, and the held-out loss is what the scheduler follows."""
    run = trained(data="wide", model="deep", lr=5e-4, patience=1, factor=0.1, epochs=16)
    assert HELD_OUT in fits(run)
    assert (np.diff(run.float("lr")) < 0).any()
    assert not findings(plateau_scheduler, run)


def test_an_unknown_metric_is_not_judged() -> None:
    run = trained(metric="accuracy", mode="max", patience=1, factor=0.3)
    assert "writer.add_scalar" in skipped(plateau_scheduler, run).how


def test_a_run_that_was_taken_up_again_is_not_judged() -> None:
    run = trained(metric="batch", patience=10)
    again = replace(run, events=(*run.events, RunEvent("restore", 60)))
    assert "taken up again" in skipped(plateau_scheduler, again).why


def test_lrs_that_somebody_else_sets_are_not_those_of_the_rule() -> None:
    run = trained(metric="batch", patience=10)
    lr = run.float("lr").copy()
    lr[200:] *= 1.01
    assert "makes the cuts that were made" in skipped(plateau_scheduler, replace(run, columns={**run.columns, "lr": lr})).why


def test_without_such_a_scheduler_there_is_nothing_to_judge() -> None:
    run = trained(metric="batch", patience=10)
    assert "0 steps" in checked(plateau_scheduler, replace(run, facts={}))
    other = replace(run, facts={"scheduler": {"class": "StepLR"}})
    assert "the scheduler is StepLR" in checked(plateau_scheduler, other)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("cooldown", [0, 2])
def test_the_replay_is_the_scheduler_of_torch(mode: str, relative: bool, cooldown: int) -> None:
    generator = np.random.default_rng(0)
    for patience in range(4):
        values = np.exp(-np.arange(60) / 20) + 0.2 * generator.normal(size=60)
        made = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        kind = "rel" if relative else "abs"
        scheduler = ReduceLROnPlateau(
            made, mode, 0.5, patience, threshold=0.05, threshold_mode=kind, cooldown=cooldown, min_lr=0.01
        )
        wanted = []
        for value in values.tolist():
            scheduler.step(value)
            wanted.append(made.param_groups[0]["lr"])
        settings = Settings(mode, 0.5, patience, 0.05, relative, cooldown, 0.01, 1e-8)
        assert replay(settings, values.tolist(), 1.0)[0] == wanted


def backwards(**options: Any) -> Run:
    return trained(data="digits", samples=1000, optimizer="momentum", lr=0.02, epochs=12, metric="held_out", **options)


def test_a_loss_under_mode_max_is_said_to_be_one() -> None:
    run = backwards(mode="max", patience=1)
    assert (fits(run)[0], fits(run)[-1]) == (HELD_OUT, "")
    (finding,) = findings(plateau_scheduler, run)
    assert (finding.kind, finding.strength, finding.detail, finding.explains_jump) == ("fault", "likely", "too_eager", False)
    assert "mode='min'" in finding.fix
    assert finding.steps[0] == int(run.step[np.flatnonzero(np.diff(run.float("lr")) < 0)[0] + 1])
    settings = settings_of(run)
    assert settings is not None
    made = followed(build_context(run), settings)
    assert loss_under_max(run, settings, made) is not None
    flat = [replace(one, values=np.linspace(1.0, 0.8, len(one.values))) for one in made]
    assert loss_under_max(run, settings, flat) is None, "an accuracy may have been best at first"
    assert loss_under_max(run, replace(settings, mode="min"), made) is None


def test_the_same_loss_under_mode_min_is_none() -> None:
    checked(plateau_scheduler, backwards(mode="min", patience=1))


def test_a_mode_of_max_whose_cuts_leave_an_lr_does_no_such_harm() -> None:
    run = backwards(mode="max", patience=1, factor=0.9)
    settings = settings_of(run)
    assert settings is not None
    assert loss_under_max(run, settings, followed(build_context(run), settings)) is None
