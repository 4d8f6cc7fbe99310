"""What the batches hold, and how much of an effect is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, Sampler, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.jump import measure
from tb_losslens.analysis.stats import sign_test
from tests.analysis.lookalikes.training import Training, causes, checked, faults, said_of


class Summed(Training):
    """A sum over the batch, divided by its usual size; the last batch of an epoch has two samples."""

    samples = 1570

    def begin(self, writer: LossLensWriter) -> None:
        self.criterion = nn.CrossEntropyLoss(reduction="sum")
        super().begin(writer)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return super().loss(x, y) / self.batch_size

    def validate(self, writer: LossLensWriter) -> None:
        """None: a sum over other numbers of samples is no value to compare."""


class HardOnesLast(Sampler[int]):
    """All samples but the last `hard` in a new order, then these."""

    def __init__(self, samples: int, hard: int) -> None:
        self.samples, self.hard = samples, hard

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        yield from torch.randperm(self.samples - self.hard).tolist()
        yield from range(self.samples - self.hard, self.samples)


class HardLast(Training):
    """The last batch of each epoch is as large as the others, and its labels are wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.y[-32:] = (self.y[-32:] + 3) % 10

    def make_loader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(self.x, self.y), batch_size=32, sampler=HardOnesLast(self.samples, 32))


def test_a_last_batch_that_is_smaller_scales_the_loss(tmp_path: Path) -> None:
    """Look-alike 5: its loss is in line once it is scaled by the number of samples."""
    said = said_of(tmp_path, Summed())
    best = said.findings[0]
    assert (best.cause, best.detail, best.strength) == ("partial_last_batch", "sum", "proved")
    assert "the last batch has 2 of 32 samples" in best.evidence[0]


def test_a_last_batch_of_the_usual_size_vetoes_it(tmp_path: Path) -> None:
    """Look-alike 5: it is as far off, at every boundary, and for another reason."""
    said = said_of(tmp_path, HardLast())
    assert said.pooled.direction == -1
    assert "partial_last_batch" not in causes(said)
    assert checked(said, "partial_last_batch") == "every batch has 32 samples"


class ShortEpochs(Training):
    """24 steps an epoch on a falling curve."""

    batch_size, samples, epochs, lr, seed = 64, 1536, 12, 0.05, 19


class Drops(Training):
    """A network that learns the numbers of few samples by heart, 512 a sample: the loss has hardly any noise."""

    samples, batch_size, epochs, width, lr, numbers = 480, 32, 29, 128, 4.5, 512

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(3)
        self.x, self.held_x = (torch.randn(n, 40, generator=draw) for n in (self.samples, 160))
        self.y, self.held_y = (torch.randn(n, self.numbers, generator=draw) for n in (self.samples, 160))
        self.model = nn.Sequential(nn.Linear(40, self.width), nn.ReLU(), nn.Linear(self.width, self.numbers))
        self.optimizer = self.make_optimizer()
        self.criterion = nn.MSELoss()


class Drawn(Drops):
    """Its samples are drawn with replacement: an epoch is no pass over them."""

    def make_loader(self) -> DataLoader[tuple[Tensor, ...]]:
        drawn = RandomSampler(self.x, replacement=True, num_samples=self.samples)  # type: ignore[arg-type]
        return DataLoader(TensorDataset(self.x, self.y), batch_size=self.batch_size, sampler=drawn)


def test_one_window_size_alone_is_no_effect(tmp_path: Path) -> None:
    """Look-alike 10: a sign test at one of the window sizes would call it one."""
    said = said_of(tmp_path, ShortEpochs())
    (run,) = load_runs(str(tmp_path)).values()
    boundaries, _ = measure(run)
    sizes = boundaries[0].z_by_m
    assert min(sign_test(np.array([b.z_by_m[m] for b in boundaries]))[2] for m in sizes) < 0.02
    assert said.pooled.direction == 0
    assert not any(boundary.significant for boundary in said.boundaries)
    assert (said.kind, said.findings[0].cause, faults(said)) == ("benign", "batch_noise", [])


def test_a_small_drop_at_all_boundaries_is_an_effect(tmp_path: Path) -> None:
    """Look-alikes 10 and 11: 2.9 hundredths of the loss, which no boundary shows by itself."""
    said = said_of(tmp_path, Drops())
    drops = np.array([boundary.jump / boundary.before for boundary in said.boundaries])
    assert -0.035 < float(np.median(drops)) < -0.02
    assert not any(boundary.significant for boundary in said.boundaries)
    assert (said.pooled.direction, said.pooled.total) == (-1, 28)
    assert said.pooled.down >= 27
    best = said.findings[0]
    assert (best.cause, best.kind, best.strength) == ("memorization", "benign", "likely")


def test_without_passes_there_is_no_drop(tmp_path: Path) -> None:
    """Look-alike 11: the twin learns as much, and its boundaries mean nothing."""
    said = said_of(tmp_path, Drawn())
    assert said.pooled.direction == 0
    assert "memorization" not in causes(said)


class RandomLabels(Training):
    """A part of the training labels is drawn at random; the held-out ones are right, or random where all are."""

    data, samples, epochs, width, part = "digits", 600, 40, 256, 1.0

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=2e-3)

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        other = torch.randint(0, 10, (len(self.y),), generator=draw)
        self.y = torch.where(torch.rand(len(self.y), generator=draw) < self.part, other, self.y)


class SomeRandomLabels(RandomLabels):
    samples, epochs, width, part = 1500, 10, 64, 0.3


class WithoutHeldOut(RandomLabels):
    epochs = 20

    def validate(self, writer: LossLensWriter) -> None:
        """None."""


def test_labels_that_are_random_from_the_start_have_no_wrong_share(tmp_path: Path) -> None:
    """Look-alike 13: the samples are learned by heart, and the held-out loss never leaves the best constant."""
    said = said_of(tmp_path, RandomLabels())
    noise = next(finding for finding in said.findings if finding.cause == "label_noise")
    assert (noise.detail, noise.kind) == ("all", "fault")
    assert "The inputs tell nothing of the labels" in noise.title
    assert "No share of them can be called wrong" in noise.advice


def test_some_random_labels_are_a_share(tmp_path: Path) -> None:
    """Look-alike 13: the held-out loss lies below that of the training, and some samples are high each time."""
    said = said_of(tmp_path, SomeRandomLabels())
    best = said.findings[0]
    assert (best.cause, best.detail, best.kind) == ("label_noise", "some", "fault")


def test_random_labels_without_a_held_out_set_are_not_judged(tmp_path: Path) -> None:
    """Look-alike 13: nothing shows whether what is learned holds for others."""
    said = said_of(tmp_path, WithoutHeldOut())
    assert faults(said) == []
    assert [skipped.cause for skipped in said.skipped if skipped.cause == "label_noise"] == ["label_noise"]


class Spike(Training):
    """A term that nobody recorded is added to the loss of one batch; its inputs, gradients and LR are the usual ones."""

    at = 222

    def begin(self, writer: LossLensWriter) -> None:
        writer.watch(self.model, self.optimizer)

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return super().loss(x, y) + (6.0 if self.step == self.at else 0.0)


class SpoiledInputs(Spike):
    """The inputs of one batch are in another unit."""

    def delivered(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return (20 * x if self.step == self.at else x), y

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return Training.loss(self, x, y)


def test_a_spike_with_nothing_unusual_beside_it_is_unknown(tmp_path: Path) -> None:
    """Look-alike 14: it says which batch to run again."""
    said = said_of(tmp_path, Spike())
    best = said.findings[0]
    assert (best.cause, best.kind, best.detail, best.steps) == ("unknown", "unknown", "spike", (Spike.at,))
    assert f"batch of step {Spike.at}" in best.advice
    assert faults(said) == []


def test_a_spike_with_unusual_inputs_is_a_bad_batch(tmp_path: Path) -> None:
    """Look-alike 14: the same row, and its inputs stand apart."""
    said = said_of(tmp_path, SpoiledInputs())
    best = said.findings[0]
    assert (best.cause, best.detail, best.kind, best.steps) == ("bad_batch", "inputs", "fault", (Spike.at,))
