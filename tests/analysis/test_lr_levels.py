"""A raise of the LR inside an epoch that lifts the level of a noisy loss over epochs."""

from __future__ import annotations

import numpy as np
import pytest

from tb_losslens.analysis.causes import lr_increase
from tb_losslens.analysis.lr_levels import rise_over_epochs
from tb_losslens.store.run import Gap, Run
from tests.analysis.contexts import checked, findings
from tests.trainings import train

ROW = 327


def raised(factor: float, *, seed: int, model: str = "linear", data: str = "plane", lr: float = 0.01) -> Run:
    return train(model=model, data=data, lr=lr, seed=seed, epochs=10, schedule=lambda s, t, p: factor if s >= ROW else 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_a_level_that_rises_by_less_than_the_batches_vary(seed: int) -> None:
    (finding,) = findings(lr_increase, raised(10.0, seed=seed))
    assert (finding.kind, finding.detail, finding.steps) == ("fault", "step", (ROW,))


@pytest.mark.parametrize(("factor", "seed"), [(3.0, 0), (3.0, 1), (1.5, 2)])
def test_a_raise_that_the_loss_ignores(factor: float, seed: int) -> None:
    run = raised(factor, seed=seed, model="mlp", data="gaussian", lr=0.05)
    assert "no rise of the loss beyond noise" in checked(lr_increase, run)


@pytest.mark.parametrize(
    ("model", "data", "lr"), [("linear", "plane", 0.01), ("mlp", "gaussian", 0.05), ("lstm", "tokens", 0.5)]
)
def test_no_row_of_a_healthy_run_rises(model: str, data: str, lr: float) -> None:
    run = train(model=model, data=data, lr=lr, samples=800, epochs=10)
    length = len(run.epochs[0])
    assert not any(rise_over_epochs(run, row, length, events=[row]).clear for row in range(length // 2, len(run), length // 3))


def test_no_window_crosses_a_hole_or_another_event() -> None:
    rng = np.random.default_rng(0)
    loss = 1 + 0.1 * rng.normal(size=1000) + (np.arange(1000) >= 500)
    run = Run.from_arrays(loss=loss, epoch_length=50)
    assert rise_over_epochs(run, 500, 50, events=[500]).clear
    assert not rise_over_epochs(run, 500, 50, events=[480, 500]).clear
    holed = Run("run", run.columns, gaps=(Gap(490, 7),))
    assert not rise_over_epochs(holed, 500, 50, events=[500]).clear
    loss[600] = np.nan
    assert rise_over_epochs(run, 500, 50, events=[500]).m == 50
