"""The code against a rise of the learning rate is run as it stands, with a real optimizer."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.lr_repair import lr_fix
from tb_losslens.analysis.lr_steps import LrStep
from tb_losslens.store.run import Run

AT, LENGTH, LOW, HIGH = 108, 36, 1.5e-3, 1.5e-2


def ramp_of(low: float) -> str:
    lr = np.where(np.arange(6 * LENGTH) < AT, low, HIGH)
    run = Run.from_arrays("r", loss=np.ones(len(lr)), epoch=np.arange(len(lr)) // LENGTH, lr=lr)
    return lr_fix(build_context(run), "step", LrStep(AT, low, HIGH, "lr", None), harmed=False)


def lr_at(code: str, step: int) -> float:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    names: dict[str, Any] = {"optimizer": optimizer, "step": step, "torch": torch}
    exec(code, names)
    return cast("float", optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(("step", "lr"), [(0, LOW), (AT, LOW), (AT + 50, (LOW * HIGH) ** 0.5), (AT + 100, HIGH), (999, HIGH)])
def test_a_ramp_keeps_the_old_lr_before_it_and_the_new_one_after_it(step: int, lr: float) -> None:
    assert lr_at(ramp_of(LOW), step) == pytest.approx(lr, rel=1e-6)


@pytest.mark.parametrize(("step", "lr"), [(0, 0.0), (AT + 25, HIGH / 4), (999, HIGH)])
def test_a_ramp_from_zero_is_a_straight_line(step: int, lr: float) -> None:
    assert lr_at(ramp_of(0.0), step) == pytest.approx(lr)


@pytest.mark.parametrize("began", [LOW, HIGH])
def test_an_lr_that_the_run_held_before_is_not_called_too_high(began: float) -> None:
    lr = np.where(np.arange(6 * LENGTH) < LENGTH, began, np.where(np.arange(6 * LENGTH) < AT, LOW, HIGH))
    run = Run.from_arrays("r", loss=np.ones(len(lr)), epoch=np.arange(len(lr)) // LENGTH, lr=lr)
    code = lr_fix(build_context(run), "step", LrStep(AT, LOW, HIGH, "lr", None), harmed=True)
    assert ("too high for this run" in code) == (began == LOW)
    assert ("stable with" in code) == (began == LOW)


def test_a_restart_that_did_no_harm_is_not_called_too_high() -> None:
    run = Run.from_arrays("r", loss=np.ones(90), epoch=np.arange(90) // 30, lr=np.full(90, LOW))
    step = LrStep(30, LOW, HIGH, "lr", 0)
    said = [lr_fix(build_context(run), "warm_restart", step, harmed=harmed) for harmed in (False, True)]
    assert ["too high" in code for code in said] == [False, True]
