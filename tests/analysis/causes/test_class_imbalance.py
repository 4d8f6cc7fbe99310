"""Rare classes that are neglected, rare classes that are learned, and classes that are weighed or drawn on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import class_imbalance
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.rare_class import class_shares_of, rare_classes
from tb_losslens.record import cadence
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.once import once
from tests.trainings import train

FEW = (0.95, 0.05)


@pytest.fixture(autouse=True)
def every_batch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it depends on the load of the machine of which batches the classes are read."""
    monkeypatch.setattr(cadence, "GRANT", 1e9)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1e9)


@once
def record(
    directory: Path,
    shares: Sequence[float],
    apart: float,
    *,
    criterion: nn.Module | None = None,
    loss_of: Callable[[Tensor, Tensor], Tensor] | None = None,
    floats: bool = False,
    even: bool = False,
    samples: int = 2400,
    batch_size: int = 32,
    epochs: int = 8,
    seed: int = 0,
) -> Run:
    """Clouds around random centres of spread `apart`, of which class c holds `shares[c]`; `even` draws all as often."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    label = rng.choice(len(shares), samples, p=shares)
    centre = apart * rng.normal(size=(len(shares), 10))
    x = torch.tensor(centre[label] + rng.normal(size=(samples, 10)), dtype=torch.float32)
    y = torch.tensor(label)
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1 if floats else len(shares)))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    criterion = criterion or (nn.BCEWithLogitsLoss() if floats else nn.CrossEntropyLoss())
    weight = (1 / torch.bincount(y).float())[y].tolist()
    data = TensorDataset(x, y.float() if floats else y)
    with LossLensWriter(str(directory)) as writer:
        if loss_of is None:
            writer.watch(net, opt, criterion=criterion)
        else:
            writer.watch(net, opt)
        order = {"sampler": WeightedRandomSampler(weight, samples)} if even else {"shuffle": True}
        loader = writer.wrap(DataLoader(data, batch_size=batch_size, **order))
        for _ in range(epochs):
            for inputs, targets in loader:
                output = net(inputs).squeeze(1) if floats else net(inputs)
                loss = criterion(output, targets) if loss_of is None else loss_of(output, targets)
                writer.log_batch(loss)
                opt.zero_grad()
                loss.backward()
                opt.step()
    (run,) = load_runs(str(directory)).values()
    return run


@pytest.mark.parametrize(("shares", "batch_size"), [(FEW, 32), ((0.9, 0.1), 64), ((0.99, 0.01), 32)])
def test_a_rare_class_that_is_neglected(tmp_path: Path, shares: Sequence[float], batch_size: int) -> None:
    run = record(tmp_path, shares, 0.3, batch_size=batch_size)
    (finding,) = findings(class_imbalance, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("fault", "likely", False)
    assert "by the losses of single samples" in finding.evidence[1]
    namespace = {"nn": nn, "torch": torch}
    exec(finding.fix, namespace)
    weight = namespace["criterion"].weight  # type: ignore[attr-defined]
    assert float(weight[1] / weight[0]) == pytest.approx(shares[0] / shares[1], rel=0.3)
    assert [f.cause for f in diagnose(run).findings if f.kind == "fault"] == ["class_imbalance"]


def test_numbers_that_are_all_0_or_1_are_classes(tmp_path: Path) -> None:
    (finding,) = findings(class_imbalance, record(tmp_path, FEW, 0.3, floats=True))
    assert finding.strength == "likely"
    assert "pos_weight" in finding.fix
    assert class_shares_of(train(data="regression", epochs=3)) is None


@pytest.mark.parametrize("floats", [False, True])
def test_a_rare_class_that_is_learned_as_the_others_is_none(tmp_path: Path, floats: bool) -> None:
    assert "too little for a class that is neglected" in checked(class_imbalance, record(tmp_path, FEW, 1.5, floats=floats))


@pytest.mark.parametrize("seed", range(3))
def test_hard_classes_that_are_not_rare_are_none(tmp_path: Path, seed: int) -> None:
    assert "none is rare" in checked(class_imbalance, record(tmp_path, [0.1] * 10, 0.5, seed=seed))


def test_a_quarter_is_not_rare(tmp_path: Path) -> None:
    assert checked(class_imbalance, record(tmp_path, (0.75, 0.25), 0.3))


def test_weights_on_purpose(tmp_path: Path) -> None:
    weighed = record(tmp_path / "a", FEW, 0.3, criterion=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 19.0])))
    assert "on purpose" in checked(class_imbalance, weighed)
    positive = record(tmp_path / "b", FEW, 0.3, floats=True, criterion=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(19.0)))
    assert "on purpose" in checked(class_imbalance, positive)


def test_a_sampler_that_draws_them_evenly(tmp_path: Path) -> None:
    assert "none is rare" in checked(class_imbalance, record(tmp_path, FEW, 0.3, even=True))


def test_weights_that_nobody_sees_leave_it_possible(tmp_path: Path) -> None:
    def weighed(output: Tensor, target: Tensor) -> Tensor:
        return (functional.cross_entropy(output, target, reduction="none") * torch.tensor([1.0, 19.0])[target]).mean()

    found = findings(class_imbalance, record(tmp_path, FEW, 0.3, loss_of=weighed))
    assert all(f.strength == "possible" for f in found)
    assert not [f for f in found if not f.against]


def test_tokens_are_always_uneven() -> None:
    run = train(data="digits", epochs=3)
    size = replace(run, columns={**run.columns, "batch_size": np.full(len(run), 2)})  # 16 targets a sample
    assert "tokens or pixels" in checked(class_imbalance, size)
    single = train(model="lstm", data="tokens", epochs=5, lr=0.5)
    assert not findings(class_imbalance, single)


def test_what_is_said_of_the_rare_classes_is_what_they_lost(tmp_path: Path) -> None:
    run = record(tmp_path, FEW, 0.3)
    shares = class_shares_of(run)
    assert shares is not None
    measured = rare_classes(run, shares, run.epochs[4:], least_part=0.5)
    bare = replace(run, ragged={k: v for k, v in run.ragged.items() if k != "class_losses"})
    fitted = rare_classes(bare, shares, run.epochs[4:], least_part=0.5)
    assert measured is not None
    assert fitted is not None
    assert (measured.measured, fitted.measured) == (True, False)
    assert measured.names == (1,)
    assert measured.share == pytest.approx(0.05, abs=0.01)
    assert fitted.own == pytest.approx(measured.own, rel=0.15)
    assert fitted.others == pytest.approx(measured.others, rel=0.3)
