"""Trainings with wrong labels, and those whose held-out loss is lower, or whose labels are hard, for another reason."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import label_noise
from tb_losslens.analysis.engine import build_context, decide, diagnose
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.once import once
from tests.toys import dataset
from tests.trainings import train


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """`change` is what the data set does to an input each time that it is read."""

    def __init__(self, x: Tensor, y: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        self.x, self.y, self.change = x, y, change

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.change(self.x[i]), self.y[i]


def flip(y: Tensor, share: float, generator: torch.Generator) -> Tensor:
    other = torch.randint(0, 10, (len(y),), generator=generator)
    return torch.where(torch.rand(len(y), generator=generator) < share, other, y)


@once
def record(
    directory: Path,
    *,
    flipped: float = 0.0,
    held_out_flipped: float = 0.0,
    dropout: float = 0.0,
    change: Callable[[Tensor], Tensor] = lambda x: x,
    weighted: bool = False,
    per_sample: bool = False,
    data: str = "digits",
    epochs: int = 10,
    seed: int = 0,
    width: int = 64,
    samples: int = 1500,
) -> Run:
    """A real loop; a part of the training labels, and of the held-out ones, is drawn at random."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset(data)
    x, y = x[:samples], y[:samples]
    generator = torch.Generator().manual_seed(seed)
    y, held_y = flip(y, flipped, generator), flip(held_y, held_out_flipped, generator)
    model = nn.Sequential(nn.Linear(x.shape[1], width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss(reduction="none" if per_sample else "mean")
    sampler = WeightedRandomSampler([1.0] * len(x), len(x)) if weighted else None
    with LossLensWriter(str(directory)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        made = DataLoader(Samples(x, y, change), batch_size=32, shuffle=sampler is None, sampler=sampler)
        loader = writer.wrap(made)
        val = writer.wrap(DataLoader(Samples(held_x, held_y, lambda x: x), batch_size=100), split="val")
        for _ in range(epochs):
            model.train()
            for inputs, targets in loader:
                optimizer.zero_grad()
                criterion(model(inputs), targets).mean().backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for inputs, targets in val:
                    criterion(model(inputs), targets)
    return load_runs(directory)["."]


def wrong_ids(samples: int, share: float, seed: int = 0) -> set[int]:
    _, y, _, _ = dataset("digits")
    y = y[:samples]
    changed = flip(y, share, torch.Generator().manual_seed(seed)) != y
    return set(torch.nonzero(changed).flatten().tolist())


@pytest.mark.parametrize("flipped", [0.2, 0.4, 0.6])
def test_some_wrong_labels(tmp_path: Path, flipped: float) -> None:
    (finding,) = findings(label_noise, record(tmp_path, flipped=flipped))
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "some", "likely")
    assert not finding.explains_jump
    assert "is known to explain" in finding.text


def test_with_the_losses_of_samples_it_lists_those_with_a_wrong_label(tmp_path: Path) -> None:
    run = record(tmp_path, flipped=0.3, per_sample=True)
    (finding,) = findings(label_noise, run)
    listed = [int(i) for i in finding.fix.split("[")[1].split("]")[0].split(", ")]
    wrong = wrong_ids(1500, 0.3)
    assert len(listed) == 20
    assert len(wrong & set(listed)) >= 18
    assert finding.missing == ()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_right_labels_are_the_healthy_twin(tmp_path: Path, seed: int) -> None:
    assert findings(label_noise, record(tmp_path, seed=seed)) == []


def test_a_held_out_set_that_is_noisy_too_says_nothing(tmp_path: Path) -> None:
    assert "not clearly below" in checked(label_noise, record(tmp_path, flipped=0.4, held_out_flipped=0.4))


def test_labels_that_are_uncertain_in_both_say_nothing(tmp_path: Path) -> None:
    assert findings(label_noise, record(tmp_path, data="gaussian")) == []


def test_dropout_raises_the_training_loss_too(tmp_path: Path) -> None:
    assert findings(label_noise, record(tmp_path / "a", dropout=0.7)) == []
    assert "dropout" in checked(label_noise, record(tmp_path / "b", flipped=0.4, dropout=0.2))


def test_augmentation_raises_the_training_loss_too(tmp_path: Path) -> None:
    def noisy(x: Tensor) -> Tensor:
        return x + 0.8 * torch.randn_like(x)

    run = record(tmp_path, change=noisy)
    gap = np.mean(run.loss[-47:]) - run.validations[-1].value
    assert gap > 0.2
    assert "augmentation" in checked(label_noise, run)


def test_a_weighted_sampler_is_left_alone(tmp_path: Path) -> None:
    assert "sampler" in checked(label_noise, record(tmp_path, flipped=0.4, weighted=True))


def test_what_is_not_known_is_not_claimed(tmp_path: Path) -> None:
    run = record(tmp_path, flipped=0.4)
    assert findings(label_noise, run)
    assert "dropout" in checked(label_noise, replace(run, facts={k: v for k, v in run.facts.items() if k != "model"}))
    without = {k: v for k, v in run.columns.items() if k != "loss_identity"}
    assert "which function" in checked(label_noise, replace(run, columns=without))
    dropped = ("inputs_compared", "inputs_changed")
    events = tuple(replace(e, fields={k: v for k, v in e.fields.items() if k not in dropped}) for e in run.events)
    assert "augmented" in checked(label_noise, replace(run, events=events))


def test_labels_without_a_signal_that_are_learned_by_heart(tmp_path: Path) -> None:
    run = record(tmp_path, flipped=1.0, epochs=60, width=256, samples=600)
    (finding,) = findings(label_noise, run)
    assert (finding.detail, finding.kind, finding.strength) == ("all", "fault", "likely")
    names = [f.cause for f in diagnose(run).findings]
    assert "overfitting" not in names
    assert "insufficient_data" not in names


def test_labels_without_a_signal_that_nothing_learns_are_left_alone(tmp_path: Path) -> None:
    """A slow or small model stays at the constant with right labels, too."""
    assert findings(label_noise, record(tmp_path, flipped=1.0, epochs=6)) == []


def test_few_samples_that_are_learned_by_heart_have_a_signal(tmp_path: Path) -> None:
    assert findings(label_noise, record(tmp_path, samples=100, epochs=60, width=256)) == []


def test_after_a_fault_it_is_possible_only(tmp_path: Path) -> None:
    fault = Finding("target_shift", "fault", "proved", "", "", steps=(3,), evidence=(Evidence("seen"),))
    (finding,) = decide(label_noise, replace(build_context(record(tmp_path, flipped=0.4)), earlier=(fault,)))
    assert isinstance(finding, Finding)
    assert finding.strength == "possible"


def test_it_says_what_is_missing() -> None:
    assert "split" in skipped(label_noise, replace(train(epochs=4), events=())).how


def test_the_fix_runs_and_leaves_a_network_with_batchnorm_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = copy.deepcopy(model.state_dict())
    samples = [(torch.ones(3), 1), (torch.zeros(3), 2)]
    exec(label_noise._fix((0, 1)), {"model": model, "torch": torch, "train_dataset": samples})
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
