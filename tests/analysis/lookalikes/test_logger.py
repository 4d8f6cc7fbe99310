"""Curves that a logger drew, and trainings that look like them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.mean_curve import mean_statistics, position_in_mean
from tests.analysis.lookalikes.training import Training, causes, checked, said_of


class ByHeart(Training):
    """Few samples and a wide network, which knows them by heart: the loss steps down at each boundary."""

    data, samples, epochs, batch_size, width, lr = "wide", 480, 16, 16, 256, 0.2
    watched = False


class MeanOfEpoch(Training):
    """A healthy training whose loop logs the mean since the epoch began."""

    watched = False
    total = 0.0

    def shown(self, loss: float) -> float:
        self.total = loss + (self.total if self.index else 0.0)
        return self.total / (self.index + 1)


class MeanBesideBatchLoss(MeanOfEpoch):
    watched = True


def test_stairs_of_samples_seen_before_are_no_mean_that_starts_anew(tmp_path: Path) -> None:
    """Look-alike 1: both drop at each boundary, and the batches are as noisy late in the epoch as early."""
    said = said_of(tmp_path, ByHeart())
    assert said.pooled.direction == -1
    assert (said.findings[0].cause, said.findings[0].kind) == ("memorization", "benign")
    assert "(a mean: i^-1)" in checked(said, "running_mean")


def test_a_mean_that_starts_anew_is_no_memorisation(tmp_path: Path) -> None:
    """Look-alike 1: its noise shrinks as 1/i, and once it is taken apart nothing drops."""
    said = said_of(tmp_path, MeanOfEpoch())
    assert said.pooled.direction == -1
    best = said.findings[0]
    assert (best.cause, best.detail, best.strength, best.share) == ("running_mean", "epoch", "likely", 1.0)
    assert "smaller like n^-1" in best.evidence[0]
    assert "memorization" not in causes(said)


def test_beside_the_batch_loss_the_mean_is_an_identity(tmp_path: Path) -> None:
    said = said_of(tmp_path, MeanBesideBatchLoss())
    assert (said.findings[0].cause, said.findings[0].strength) == ("running_mean", "proved")
    assert "memorization" not in causes(said)


class Whole(Sampler[int]):
    """Each batch holds all samples, in another order."""

    def __init__(self, samples: int, batches: int) -> None:
        self.samples, self.batches = samples, batches

    def __len__(self) -> int:
        return self.samples * self.batches

    def __iter__(self) -> Iterator[int]:
        for _ in range(self.batches):
            yield from torch.randperm(self.samples).tolist()


class Stairs(Training):
    """One update an epoch, and each batch is the whole data: the loss is a step function, of which an EMA is logged."""

    samples = batch_size = 64
    epochs, lr, batches = 12, 0.5, 20
    watched = False
    smooth, keep = 0.0, 0.8

    def make_loader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(self.x, self.y), batch_size=64, sampler=Whole(64, self.batches))

    def batch(self, writer: LossLensWriter, x: Tensor, y: Tensor) -> None:
        loss = self.loss(x, y)
        (loss / self.batches).backward()
        writer.add_scalar("Loss/train", self.shown(loss.item()), self.step)

    def before_validation(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad()

    def shown(self, loss: float) -> float:
        self.smooth = self.keep * self.smooth + (1 - self.keep) * loss if self.step else loss
        return self.smooth


class Smoothed(Training):
    """An EMA of the noisy loss of an ordinary training, the loss of the batch beside it."""

    smooth = 0.0

    def shown(self, loss: float) -> float:
        self.smooth = 0.98 * self.smooth + 0.02 * loss if self.step else loss
        return self.smooth


def test_an_ema_of_a_step_function_is_like_a_mean_in_one_statistic_only(tmp_path: Path) -> None:
    """Look-alike 6: its steps shrink within the epoch, as those of a mean do, but taken apart it gets smooth."""
    said = said_of(tmp_path, Stairs())
    (run,) = load_runs(str(tmp_path)).values()
    position: Any = position_in_mean(run, "epoch")
    statistics = mean_statistics(run.loss, position, 12)
    assert statistics is not None
    assert statistics.slope < -0.8
    assert abs(statistics.roughness) > 0.5
    assert "running_mean" not in causes(said)
    checked(said, "running_mean")


def test_an_ema_is_named_where_the_batch_loss_is_known(tmp_path: Path) -> None:
    """Look-alike 6: it is no mean since the epoch began, and proved to be an EMA."""
    said = said_of(tmp_path, Smoothed())
    best = said.findings[0]
    assert (best.cause, best.detail, best.strength) == ("smoothed_metric", "exponential", "proved")
    assert "0.98 of the value before" in best.text
    checked(said, "running_mean")
