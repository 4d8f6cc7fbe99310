"""Models and gradients that are not the usual ones: undisturbed, and recorded."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.fault_training import same, train, watched
from tests.record.training import mlp


class Sparse(nn.Module):
    """Its embedding has sparse gradients."""

    def __init__(self):
        super().__init__()
        self.embed = nn.EmbeddingBag(64, 4, mode="sum", sparse=True)
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.embed((inputs.abs() * 10).long().clamp(max=63)))


class Complex(nn.Module):
    """Its weights are complex numbers."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8, dtype=torch.complex64)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs):
        return self.head(self.inner(inputs.to(torch.complex64)).abs())


class Unused(nn.Module):
    """One layer never gets a gradient, another is frozen."""

    def __init__(self):
        super().__init__()
        self.unused, self.frozen, self.used = nn.Linear(3, 3), nn.Linear(8, 8).requires_grad_(False), mlp()

    def forward(self, inputs):
        return self.used(self.frozen(inputs))


class Empty(nn.Module):
    """One parameter has no elements, another is a number."""

    def __init__(self):
        super().__init__()
        self.none, self.scale, self.used = nn.Parameter(torch.empty(0)), nn.Parameter(torch.tensor(1.0)), mlp()

    def forward(self, inputs):
        return self.used(inputs) * self.scale + self.none.sum()


class PartlyMeta(nn.Module):
    """One layer is on the meta device, and not used."""

    def __init__(self):
        super().__init__()
        self.later, self.used = nn.Linear(8, 8, device="meta"), mlp()

    def forward(self, inputs):
        return self.used(inputs)


class Half(nn.Module):
    """Trains in bfloat16."""

    def __init__(self):
        super().__init__()
        self.used = mlp().bfloat16()

    def forward(self, inputs):
        return self.used(inputs.bfloat16()).float()


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        (Sparse, None),
        (Sparse, lambda ps: torch.optim.Adagrad(ps, lr=0.1)),
        (Complex, None),
        (Complex, lambda ps: torch.optim.AdamW(ps, lr=0.01)),
        (Unused, None),
        (Empty, lambda ps: torch.optim.Adam(ps, lr=0.01)),
        (PartlyMeta, None),
        (Half, None),
        (mlp, lambda ps: torch.optim.RMSprop(ps, lr=0.01, centered=True)),
    ],
)
def test_models_of_every_kind(model, optimizer, tmp_path):
    plain = train(model=model, optimizer=optimizer)
    weights, said = watched(tmp_path, model=model, optimizer=optimizer)
    on_cpu = [[w for w in ws if w.device.type != "meta"] for ws in (weights, plain)]
    assert same(*on_cpu)
    assert said == (
        ["LossLens: the probe is off: the model is on the meta device and has no numbers"] if model is PartlyMeta else []
    )
    run = load_runs(tmp_path)["run"]
    assert len(run) == 12
    assert np.isfinite(run.loss).all()
    assert np.isfinite(run.float("grad_norm")).all()


def test_a_whole_model_on_the_meta_device(tmp_path):
    with warnings.catch_warnings(), LossLensWriter(str(tmp_path / "run")) as writer:
        warnings.simplefilter("error")
        model, criterion = nn.Linear(8, 2, device="meta"), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        writer.watch(model, optimizer, criterion=criterion)
        for _ in range(3):
            optimizer.zero_grad()
            criterion(model(torch.empty(4, 8, device="meta")), torch.empty(4, 2, device="meta")).backward()
            optimizer.step()
    assert len(load_runs(tmp_path)["run"]) == 3
