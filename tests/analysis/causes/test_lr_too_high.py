"""Learning rates that throw the loss off, in real trainings, and what throws it off without being the learning rate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.analysis.blow_up import blow_up
from tb_losslens.analysis.causes import lr_too_high
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.step_size import step_size
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.analysis.small_training import record


def adam(lr: float) -> Any:
    return lambda model: torch.optim.Adam(model.parameters(), lr=lr)


def sgd(lr: float, momentum: float) -> Any:
    return lambda model: torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def raised(factor: float, epoch: int = 3) -> Any:
    def before_epoch(_writer: Any, optimizer: Any, now: int) -> None:
        if now == epoch:
            for group in optimizer.param_groups:
                group["lr"] *= factor

    return before_epoch


@pytest.mark.parametrize(("lr", "optimizer"), [(10.0, None), (30.0, None), (1.0, adam(1.0)), (1.0, sgd(1.0, 0.9))])
def test_an_lr_that_is_far_too_high_from_the_start(tmp_path: Path, lr: float, optimizer: Any) -> None:
    run = record(tmp_path, lr=lr, optimizer=optimizer, epochs=4)
    (finding,) = findings(lr_too_high, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "likely", "from_start")
    assert 1 <= finding.steps[0] <= 20
    found = diagnose(run).findings
    assert found[0].cause == "lr_too_high"
    assert f"was {lr:g}" in found[0].fix


@pytest.mark.parametrize(("lr", "optimizer"), [(0.1, None), (1.0, None), (0.01, adam(0.01)), (0.05, sgd(0.05, 0.9))])
def test_usual_and_bold_rates_are_none(tmp_path: Path, lr: float, optimizer: Any) -> None:
    assert "never thrown far above" in checked(lr_too_high, record(tmp_path, lr=lr, optimizer=optimizer, epochs=4))


def test_the_curvature_says_so_where_the_optimiser_is_plain(tmp_path: Path) -> None:
    run = record(tmp_path, lr=10.0, epochs=2)
    (finding,) = findings(lr_too_high, run)
    assert any("the curvature is above 2 / LR" in line for line in finding.evidence)
    harm = blow_up(run)
    assert harm is not None
    assert harm.kind == "nonfinite"
    steps = step_size(run, harm.row + 10)
    assert steps.plain
    assert steps.allowed < 10.0


def test_momentum_is_not_judged_by_it(tmp_path: Path) -> None:
    run = record(tmp_path, optimizer=sgd(1.0, 0.9), epochs=2)
    (finding,) = findings(lr_too_high, run)
    assert not any("2 / LR" in line for line in finding.evidence)
    assert any("holds for plain SGD" in line for line in finding.against)


def test_an_lr_that_grows_until_it_is_too_high(tmp_path: Path) -> None:
    def grown(model: nn.Module) -> torch.optim.Optimizer:
        made = torch.optim.SGD(model.parameters(), lr=0.05)
        (group,) = made.param_groups
        made.register_step_post_hook(lambda *_: group.update(lr=1.04 * group["lr"]))
        return made

    run = record(tmp_path, optimizer=grown, epochs=4)
    (finding,) = findings(lr_too_high, run)
    assert finding.detail == "mid_run"
    assert any("the LR went from 0.05 to" in line for line in finding.evidence)
    assert f"was {0.05 * 1.04 ** finding.steps[0]:.2f}" in finding.fix


def test_an_lr_that_is_raised_at_each_boundary_is_a_raised_one(tmp_path: Path) -> None:
    def grow(_writer: Any, optimizer: Any, _epoch: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] *= 3

    found = [finding.cause for finding in diagnose(record(tmp_path, lr=0.01, epochs=10, before_epoch=grow)).findings]
    assert found[0] == "lr_increase"
    assert "lr_too_high" not in found


def test_what_another_finding_explains_is_its_consequence(tmp_path: Path) -> None:
    run = record(tmp_path, lr=0.1, epochs=6, before_epoch=raised(100.0))
    found = [finding.cause for finding in diagnose(run).findings if finding.kind == "fault"]
    assert len({"lr_increase", "lr_too_high"} & set(found)) == 1, found


def test_a_batch_that_is_not_finite_is_no_learning_rate(tmp_path: Path) -> None:
    run = record(tmp_path, lr=0.1, epochs=2, change_loss=Once(5))
    harm = blow_up(run)
    assert harm is not None
    assert not harm.risen
    assert "no update before it was too large" in checked(lr_too_high, run)


class Once:
    """Makes the loss of one step NaN, and with it all weights."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    def __call__(self, loss: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return loss * math.nan if self.seen == self.step + 1 else loss


def test_labels_without_a_signal_are_no_learning_rate() -> None:
    rng = np.random.default_rng(0)
    losses = math.log(10) + 0.1 * rng.standard_normal(400)
    run = Run.from_arrays(loss=losses, lr=np.full(400, 0.1), batch_size=np.full(400, 32), epoch_length=50)
    checked(lr_too_high, run)


def test_a_single_high_loss_is_no_excursion() -> None:
    rng = np.random.default_rng(0)
    losses = 1 + 0.05 * rng.standard_normal(400)
    losses[200] = 50
    run = Run.from_arrays(loss=losses, lr=np.full(400, 0.1), batch_size=np.full(400, 8), epoch_length=50)
    assert blow_up(run) is None


def test_weights_that_begin_too_large_come_first(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(20, 20), nn.ReLU())], nn.Linear(20, 10))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1.0)
    found = diagnose(record(tmp_path, model=model, lr=0.01, epochs=2)).findings
    assert "bad_init" in [finding.cause for finding in found]
    assert "lr_too_high" not in [finding.cause for finding in found]


def test_a_single_leap_counts_where_the_batch_is_large_and_nothing_is_learned_after_it() -> None:
    rng = np.random.default_rng(0)
    losses = 0.2 + 0.01 * rng.standard_normal(400)
    losses[:2] = 1.0, 30.0
    facts = {"identities": ["mse/mean"], "loss_source": "criterion"}
    columns: dict[str, Any] = {
        "loss": losses, "lr": np.full(400, 0.1), "loss_identity": np.zeros(400), "update_ratio": np.full(400, 0.5),
        "target_mean": np.zeros(400), "target_std": np.full(400, 0.2**0.5),
    }  # fmt: skip
    run = replace(Run.from_arrays(**columns, batch_size=np.full(400, 32), epoch_length=50), facts=facts)
    harm = blow_up(run)
    assert harm is not None
    assert (harm.kind, harm.row, harm.top) == ("stuck", 1, 30.0)
    small = replace(run, columns={**run.columns, "batch_size": np.full(400, 4)})
    assert blow_up(small) is None


def test_a_stretch_of_hard_batches_of_a_loss_that_never_left_the_constant_is_no_excursion() -> None:
    """As where weight decay takes away all that is learned."""
    rng = np.random.default_rng(0)
    losses = 1 + 0.05 * rng.standard_normal(400)
    losses[300:304] = 1.7
    columns: dict[str, Any] = {
        "loss": losses, "lr": np.full(400, 0.1), "loss_identity": np.zeros(400), "update_ratio": np.full(400, 0.5),
        "target_mean": np.zeros(400), "target_std": np.ones(400), "batch_size": np.full(400, 32),
    }  # fmt: skip
    facts = {"identities": ["mse/mean"], "loss_source": "criterion"}
    run = replace(Run.from_arrays(**columns, epoch_length=50), facts=facts)
    assert blow_up(run) is None
    harm = blow_up(replace(run, columns={**run.columns, "loss": np.where(np.arange(400) < 300, losses - 0.5, losses)}))
    assert harm is not None
    assert (harm.kind, harm.row) == ("stuck", 300)


def test_a_loss_that_grows_on_its_way_to_infinity_is_a_sign_by_itself() -> None:
    rng = np.random.default_rng(0)
    losses = 1 + 0.1 * rng.standard_normal(300)
    losses[200:206] = 2, 4, 9, 30, 200, 1e6
    losses[206:] = np.nan
    run = Run.from_arrays(loss=losses, lr=np.full(300, 0.1), batch_size=np.full(300, 8), epoch_length=50)
    (finding,) = findings(lr_too_high, run)
    assert (finding.detail, finding.steps) == ("mid_run", (200,))
    assert any("over 6 batches it grows" in line for line in finding.evidence)
    at_once = np.where(np.arange(300) < 206, 1.0, np.nan)
    checked(lr_too_high, replace(run, columns={**run.columns, "loss": at_once}))
