"""Gradients that explode, in real trainings of recurrent and deep networks, and what only looks like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tb_losslens.analysis.causes import exploding_gradients
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.analysis.small_training import record


class Recurrent(nn.Module):
    """A plain recurrent network over the 20 inputs, seen one after the other, twice."""

    def __init__(self, gain: float, kind: str = "RNN") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = getattr(nn, kind)(1, 32, batch_first=True)
        if kind == "RNN":
            nn.init.orthogonal_(self.inner.weight_hh_l0, gain=gain)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.inner(torch.cat([x, x], 1)[:, :, None])[0][:, -1])
        return out


@pytest.mark.parametrize("lr", [0.01, 0.3])
def test_recurrent_weights_that_are_too_large(tmp_path: Path, lr: float) -> None:
    run = record(tmp_path, model=Recurrent(4.0), lr=lr, epochs=3)
    (finding,) = findings(exploding_gradients, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "likely", "from_start")
    assert "inner.weight_" in finding.evidence[0]
    assert "clip_grad_norm_" in finding.fix
    assert diagnose(run).findings[0].cause == "exploding_gradients"


@pytest.mark.parametrize(("gain", "kind"), [(1.0, "RNN"), (1.0, "LSTM"), (1.0, "GRU")])
def test_their_healthy_twins(tmp_path: Path, gain: float, kind: str) -> None:
    checked(exploding_gradients, record(tmp_path, model=Recurrent(gain, kind), lr=0.05, epochs=3))


def test_inputs_in_a_large_unit_enlarge_one_layer_only(tmp_path: Path) -> None:
    run = record(tmp_path, change_inputs=lambda x, _: 300 * x, lr=1e-5, epochs=2, model=deep())
    checked(exploding_gradients, run)


def deep() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))


@pytest.mark.parametrize("lr", [0.1, 10.0])
def test_an_lr_that_is_too_high_is_another_cause(tmp_path: Path, lr: float) -> None:
    checked(exploding_gradients, record(tmp_path, model=deep(), lr=lr, epochs=2))


# --- the order in time, on made losses and gradients ------------------------------------------------------------------


def series(*, lead: int = 1, back: bool = False, gradient: float = 60.0, loss: float = 4.0) -> Run:
    """400 batches; the gradient leaps at row 200, the loss `lead` rows later."""
    rng = np.random.default_rng(0)
    losses, norms = 1 + 0.1 * rng.standard_normal(400), np.exp(0.2 * rng.standard_normal(400))
    norms[200] *= gradient
    losses[200 + lead : 204 + lead if back else 400] += loss - 1
    return Run.from_arrays(loss=losses, grad_norm=norms, lr=np.full(400, 0.1), epoch_length=100)


def test_a_gradient_that_leaps_before_the_loss() -> None:
    (finding,) = findings(exploding_gradients, series())
    assert (finding.detail, finding.steps) == ("lead", (200, 201))
    assert finding.explains_jump
    assert "max_norm=1." in finding.fix


@pytest.mark.parametrize(
    "run",
    [series(lead=0), series(back=True), series(gradient=4.0), series(loss=1.0), series(lead=60)],
    ids=["both at once", "it comes back", "a small leap", "the loss stays", "long before"],
)
def test_what_is_no_lead(run: Run) -> None:
    checked(exploding_gradients, run)


def test_heavy_tails_of_the_gradient_are_no_leap() -> None:
    rng = np.random.default_rng(1)
    run = series()
    norms = np.exp(1.5 * rng.standard_normal(400))
    norms[200] = 8 * np.median(norms)
    checked(exploding_gradients, replace(run, columns={**run.columns, "grad_norm": norms}))


def test_a_batch_with_bad_inputs_comes_first(tmp_path: Path) -> None:
    def wild(x: Tensor, step: int) -> Tensor:
        return 1e4 * x if step == 150 else x

    run = record(tmp_path, change_inputs=wild, epochs=6)
    causes = [finding.cause for finding in diagnose(run).findings]
    assert "exploding_gradients" not in causes
    assert "lr_too_high" not in causes


def test_nothing_is_said_of_a_constant_gradient() -> None:
    checked(exploding_gradients, Run.from_arrays(loss=np.ones(50), grad_norm=np.zeros(50), epoch_length=10))


