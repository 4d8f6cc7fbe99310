"""Loops that set a seed in each epoch, loaders that are built anew, and what draws nothing or draws the same on purpose."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import repeated_augmentation
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.random_states import States, drawn_again
from tb_losslens.record.signals import fingerprints
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset
from tests.trainings import train

Noise = Callable[[Tensor, int], Tensor]
"""(input, sample id) -> what the data set gives."""


@pytest.fixture(autouse=True)
def states_of_before(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every pass is read, and the seeds that a test sets do not reach others."""
    monkeypatch.setattr(fingerprints, "MOST_LEFT_OUT", 0)
    kept = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 - the one that user code draws from
    yield
    torch.set_rng_state(kept[0])
    np.random.set_state(kept[1])  # noqa: NPY002
    random.setstate(kept[2])


def plain(x: Tensor, _: int) -> Tensor:
    return x


def torch_noise(x: Tensor, _: int) -> Tensor:
    return x + 0.2 * torch.randn_like(x)


def numpy_noise(x: Tensor, _: int) -> Tensor:
    return x + torch.from_numpy(np.random.randn(len(x)).astype(np.float32)) * 0.2  # noqa: NPY002 - what user code does


def by_index(x: Tensor, i: int) -> Tensor:
    return x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(i))


class _Samples(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, x: Tensor, y: Tensor, noise: Noise) -> None:
        self.x, self.y, self.noise = x, y, noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.noise(self.x[i], i), self.y[i]


def record(
    directory: Path,
    *,
    noise: Noise = plain,
    each_epoch: Callable[[int], object] = lambda _: None,
    dropout: float = 0.0,
    workers: int = 0,
    built_anew: bool = False,
    sampler: Callable[[int], Any] | None = None,
    epochs: int = 5,
    samples: int = 400,
) -> Run:
    """A real loop that calls `each_epoch(epoch)` before each epoch."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.set_num_threads(1)
    x, y, _, _ = dataset("digits", 1400)
    data = _Samples(x[:samples], y[:samples], noise)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss()

    def made(epoch: int) -> Any:
        order = {"shuffle": True} if sampler is None else {"sampler": sampler(epoch)}
        generator = torch.Generator().manual_seed(0) if built_anew else None
        return writer.wrap(DataLoader(data, batch_size=32, num_workers=workers, generator=generator, **order))

    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, opt, criterion=criterion)
        loader = made(0)
        for epoch in range(epochs):
            each_epoch(epoch)
            loader = made(epoch) if built_anew or sampler is not None else loader
            for inputs, targets in loader:
                opt.zero_grad()
                criterion(net(inputs), targets).backward()
                opt.step()
    (run,) = load_runs(str(directory)).values()
    return run


def seed(_: int) -> None:
    torch.manual_seed(7)


@pytest.mark.parametrize(("noise", "dropout"), [(torch_noise, 0.0), (plain, 0.5)])
def test_a_seed_in_the_loop_over_epochs(tmp_path: Path, noise: Noise, dropout: float) -> None:
    run = record(tmp_path, noise=noise, dropout=dropout, each_epoch=seed)
    (finding,) = findings(repeated_augmentation, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("fault", "proved", False)
    assert finding.boundaries == (0, 1, 2, 3)
    assert "torch's generator began 4 of 4 later epochs" in finding.evidence[0]
    assert "torch.manual_seed(0)" in finding.fix
    found = [f.cause for f in diagnose(run).findings if f.kind == "fault"]
    assert set(found) == {"repeated_order", "repeated_augmentation"}


def test_a_seed_of_numpy_in_the_loop(tmp_path: Path) -> None:
    run = record(tmp_path, noise=numpy_noise, each_epoch=lambda _: np.random.seed(7))  # noqa: NPY002
    (finding,) = findings(repeated_augmentation, run)
    assert finding.strength == "proved"
    assert "numpy's generator" in finding.evidence[0]
    assert "100\N{NARROW NO-BREAK SPACE}% of 1,600 samples that came back had another input" in finding.evidence[1]
    assert finding.fix.endswith("numpy.random.seed(0)")


@pytest.mark.parametrize("noise", [plain, torch_noise, numpy_noise, by_index])
@pytest.mark.parametrize("each_epoch", [lambda _: None, lambda epoch: torch.manual_seed(7 + epoch)])
def test_healthy_loops(tmp_path: Path, noise: Noise, each_epoch: Callable[[int], object]) -> None:
    run = record(tmp_path, noise=noise, dropout=0.3, each_epoch=each_epoch)
    assert "no generator began an epoch in a state of before" in checked(repeated_augmentation, run)


def test_a_seed_in_the_loop_that_nothing_draws_from(tmp_path: Path) -> None:
    """Only the order is drawn, before the epoch: that is `repeated_order`."""
    run = record(tmp_path, each_epoch=seed)
    assert "none was drawn from" in checked(repeated_augmentation, run)
    assert "repeated_order" in [f.cause for f in diagnose(run).findings]


def test_an_equal_state_of_a_generator_that_is_not_used_proves_nothing(tmp_path: Path) -> None:
    run = record(tmp_path, dropout=0.3)
    begins = [e.fields["rng"]["numpy"] for e in run.events if e.kind == "epoch_begin"]
    assert len(begins) == 5
    assert len(set(begins)) == 1
    assert "drawn from: torch" in checked(repeated_augmentation, run)


@pytest.mark.parametrize("noise", [plain, torch_noise])
def test_workers_of_a_loader_that_is_built_anew(tmp_path: Path, noise: Noise) -> None:
    """The same order and the same noise: whether there is any cannot be told."""
    (finding,) = findings(repeated_augmentation, record(tmp_path, noise=noise, workers=1, built_anew=True, epochs=3))
    assert (finding.strength, finding.detail, finding.boundaries) == ("possible", "workers", (0, 1))
    assert "the workers of 2 of 2 later epochs began with the seed of an earlier epoch" in finding.evidence[0]
    assert "generator=generator" in finding.fix


def test_workers_with_the_same_seed_and_another_order(tmp_path: Path) -> None:
    def order(epoch: int) -> list[int]:
        return np.random.default_rng(epoch).permutation(400).tolist()  # type: ignore[no-any-return]

    given: dict[str, Any] = {"workers": 1, "built_anew": True, "epochs": 4, "sampler": order}
    (finding,) = findings(repeated_augmentation, record(tmp_path / "noise", noise=torch_noise, **given))
    assert (finding.strength, finding.detail) == ("proved", "workers")
    assert "nothing random is drawn there" in checked(repeated_augmentation, record(tmp_path / "plain", **given))


def test_workers_of_one_loader(tmp_path: Path) -> None:
    run = record(tmp_path, noise=torch_noise, workers=1, epochs=3)
    assert "no generator began" in checked(repeated_augmentation, run)


def test_a_new_process_begins_with_the_seed_of_its_script() -> None:
    one, two = (States(process, {"torch": "aa"}, frozenset({"torch"})) for process in (0, 1))
    other = States(0, {"torch": "bb"}, frozenset({"torch"}))
    assert drawn_again([one, other, two]) == []
    assert [again.epochs for again in drawn_again([one, other, replace(one)])] == [((2, 0),)]
    unused = replace(one, drawn=frozenset())
    assert drawn_again([unused, unused]) == []
    assert drawn_again([unused, None, unused]) == []


def test_states_that_were_not_recorded_are_skipped() -> None:
    assert "were not recorded" in skipped(repeated_augmentation, train(epochs=3)).why
