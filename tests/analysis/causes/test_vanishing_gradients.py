"""Deep networks whose first layers get no gradient, in real trainings, and those that only look like it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tb_losslens.analysis.causes import vanishing_gradients
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.layer_gradients import layer_gradients
from tb_losslens.store.run import Ragged
from tests.analysis.contexts import checked, findings, skipped
from tests.analysis.small_training import record


def deep(activation: type[nn.Module], depth: int = 8, *, width: int = 20, out: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, 32), activation()]
        width = 32
    return nn.Sequential(*layers, nn.Linear(width, out))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=5e-3)


class Residual(nn.Module):
    """The same depth with blocks that add to their input."""

    def __init__(self, depth: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(20, 32)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.Sigmoid()) for _ in range(depth))
        self.last = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.last(x)
        return out


@pytest.mark.parametrize("optimizer", [None, adam])
def test_eight_sigmoids_in_a_row(tmp_path: Path, optimizer: Any) -> None:
    run = record(tmp_path, model=deep(nn.Sigmoid), optimizer=optimizer, epochs=4)
    (finding,) = findings(vanishing_gradients, run)
    assert (finding.kind, finding.strength, finding.steps) == ("fault", "likely", (0,))
    assert "`0.weight`" in finding.evidence[0]
    assert "`16.weight`" in finding.evidence[0]
    assert not finding.explains_jump
    assert diagnose(run).findings[0].cause == "vanishing_gradients"


def test_its_healthy_twin_with_residual_blocks(tmp_path: Path) -> None:
    run = record(tmp_path, model=Residual(), lr=0.1, epochs=4)
    assert "the largest in the first batch" in checked(vanishing_gradients, run)


def test_a_deep_network_that_learns_slowly_but_has_its_gradients(tmp_path: Path) -> None:
    run = record(tmp_path, model=deep(nn.Tanh, 4), lr=1e-4, epochs=3)
    checked(vanishing_gradients, run)


def test_a_small_gradient_that_learns_all_the_same_is_said(tmp_path: Path) -> None:
    run = record(tmp_path, model=deep(nn.Sigmoid, 4), optimizer=adam, epochs=30)
    assert "over the first" in checked(vanishing_gradients, run)


def test_a_last_layer_that_begins_at_zero(tmp_path: Path) -> None:
    model = deep(nn.ReLU, 3)
    nn.init.zeros_(model[-1].weight)
    run = record(tmp_path, model=model, lr=0.02, epochs=2)
    gradients = layer_gradients(run)
    assert gradients is not None
    assert gradients.ends()[0] == 0
    assert "over the first" in checked(vanishing_gradients, run)


def test_frozen_layers_are_no_vanished_ones(tmp_path: Path) -> None:
    model = deep(nn.Tanh, 6)
    for parameter in model[:4].parameters():
        parameter.requires_grad = False
    checked(vanishing_gradients, record(tmp_path, model=model, lr=1e-4, epochs=2))


def test_inputs_in_a_small_unit_make_one_layer_small(tmp_path: Path) -> None:
    run = record(tmp_path, model=deep(nn.Tanh, 4), lr=0.01, change_inputs=lambda x, _: 1e-5 * x, epochs=3)
    gradients = layer_gradients(run)
    assert gradients is not None
    assert gradients.norms[0, 0] < 1e-4 * gradients.norms[0].max()
    checked(vanishing_gradients, run)


def test_units_that_are_dead_from_the_start(tmp_path: Path) -> None:
    model = deep(nn.ReLU, 5)
    with torch.no_grad():
        model[6].bias.fill_(-100.0)
    run = record(tmp_path, model=model, lr=0.05, epochs=2)
    (finding,) = findings(vanishing_gradients, run)
    assert finding.detail == "dead"


def test_units_that_a_large_step_killed_are_no_initialisation(tmp_path: Path) -> None:
    run = record(tmp_path, model=deep(nn.ReLU, 5), lr=4.0, epochs=2)
    gradients = layer_gradients(run)
    assert gradients is not None
    assert (gradients.norms[-20:, :2] == 0).all()
    checked(vanishing_gradients, run)


def test_a_late_watch_tells_of_the_past_only(tmp_path: Path) -> None:
    run = record(tmp_path, model=deep(nn.Sigmoid), lr=0.1, epochs=2)
    kept = run.ragged["layer_grad_norm"]
    late = [np.empty(0) if row < 10 else kept[row] for row in range(len(run))]
    cut = replace(run, ragged={"layer_grad_norm": Ragged.from_lists(late)})
    assert "after updates" in skipped(vanishing_gradients, cut).why


def small(gain: float) -> nn.Sequential:
    """Ten layers whose weights are `gain` times as large as what keeps the size of what passes through."""
    model = deep(nn.Tanh, 9)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, gain=gain)
            nn.init.zeros_(module.bias)
    return model


def test_weights_that_begin_too_small_fade_both_ways(tmp_path: Path) -> None:
    """All weights have equally little gradient: it fades on its way back, and what layers are given on its way forward."""
    run = record(tmp_path, model=small(0.15), epochs=4)
    gradients = layer_gradients(run)
    assert gradients is not None
    assert gradients.ends()[0] > 0.1
    (finding,) = findings(vanishing_gradients, run)
    assert (finding.kind, finding.strength, finding.detail, finding.steps) == ("fault", "likely", "both_ways", (0,))
    assert "`0.bias`" in finding.evidence[0]
    assert [one.cause for one in diagnose(run).findings if one.kind == "fault"] == ["vanishing_gradients"]


def test_the_same_layers_with_weights_that_keep_the_size(tmp_path: Path) -> None:
    checked(vanishing_gradients, record(tmp_path, model=small(5 / 3), epochs=4))


def test_inputs_in_a_small_unit_fade_nowhere(tmp_path: Path) -> None:
    """All weights have little gradient here as well, but that of the biases does not fade."""
    checked(vanishing_gradients, record(tmp_path, model=small(5 / 3), epochs=3, change_inputs=lambda x, _step: x * 1e-4))
