"""Ragged last batches, of mean and of summed losses, on real trainings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tb_losslens.analysis.causes import partial_last_batch
from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.analysis.finding import Checked, Finding
from tb_losslens.analysis.last_batches import is_sum, last_batches, proportion
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, faults, findings
from tests.toys import dataset
from tests.trainings import train


def summed(mean: Tensor, losses: Tensor) -> Tensor:
    return losses.sum()


def contrastive(mean: Tensor, losses: Tensor) -> Tensor:
    """A term that grows with the batch, as the negatives of a contrastive loss do."""
    return mean + torch.log(torch.tensor(float(len(losses))))


@pytest.mark.parametrize(("model", "data"), [("mlp", "digits"), ("lstm", "tokens")])
@pytest.mark.parametrize("samples", [1283, 1312])
def test_a_summed_loss_shrinks_with_the_batch(model: str, data: str, samples: int) -> None:
    optimizer, lr = ("adam", 0.003) if model == "lstm" else ("sgd", 0.1 / 64)
    run = train(
        model=model, data=data, optimizer=optimizer, lr=lr, samples=samples, batch_size=64, drop_last=False,
        change_loss=summed, facts={"criterion": {"class": "CrossEntropyLoss", "reduction": "sum"}},
    )  # fmt: skip
    (finding,) = findings(partial_last_batch, run)
    last = int(run.columns["batch_size"][run.epochs[0].last - 1])
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "sum", "proved")
    assert f"{last} instead of 64" in finding.text
    assert finding.explains_jump
    assert finding.share is not None
    assert finding.share > 0.5
    assert finding.steps == tuple(e.last - 1 for e in run.epochs)
    assert "/ len(target)" in finding.fix
    assert 'group["lr"] *= 64' in finding.fix  # as long steps as before


@pytest.mark.parametrize(("model", "data"), [("mlp", "digits"), ("cnn", "digits"), ("lstm", "tokens")])
def test_a_few_samples_stray_as_far_as_a_few_samples_do(model: str, data: str) -> None:
    run = train(model=model, data=data, samples=1283, batch_size=64, drop_last=False, lr=0.05)
    assert not faults(partial_last_batch, run)


def test_a_visible_stray_is_an_artifact() -> None:
    run = train(data="gaussian", optimizer="momentum", lr=0.02, samples=1283, batch_size=64, drop_last=False)
    (finding,) = findings(partial_last_batch, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("artifact", "possible", False)
    assert "3 of 64 samples" in finding.text
    assert "batch_size=64, shuffle=True, drop_last=True" in finding.fix


def test_a_jump_that_is_only_the_last_batch_goes_with_it() -> None:
    """One last batch of 2 happens to hold two hard samples: its spike alone makes that boundary significant."""
    run = train(data="gaussian", lr=0.02, samples=1602, batch_size=16, drop_last=False, epochs=10)
    loss = run.loss.copy()
    spread = float(np.std(loss[run.epochs[6].first : run.epochs[6].last - 1]))
    loss[run.epochs[6].last - 1] = loss[run.epochs[6].last - 2] + 25 * spread
    spiked = replace(run, columns={**run.columns, "loss": loss})
    assert diagnose(spiked, causes=()).boundaries[6].significant
    (finding,) = findings(partial_last_batch, spiked)
    assert finding.explains_jump
    assert finding.strength == "likely"
    assert 6 in finding.boundaries
    assert finding.share is not None
    assert finding.share > 0.5


def test_a_skewed_loss_of_one_sample_is_no_sum() -> None:
    """Most samples are easy, a few are hard: one sample alone mostly lies at an eighth of the mean of eight."""
    run = train(
        model="dropout",
        data="digits",
        optimizer="adamw",
        lr=0.003,
        batch_size=8,
        samples=1601,
        epochs=6,
        drop_last=False,
        seed=411,
    )
    assert not faults(partial_last_batch, run)


def test_a_loss_that_grows_with_the_batch_is_a_fault() -> None:
    run = train(data="digits", samples=1283, batch_size=64, drop_last=False, change_loss=contrastive)
    (finding,) = faults(partial_last_batch, run)
    assert finding.detail == "depends_on_size"
    assert finding.strength == "likely"


def test_a_step_on_one_sample_that_throws_the_weights_off() -> None:
    """With SGD the step on one sample of 60 inputs is longer than the valley is wide: the loss is up after each epoch."""
    options: dict[str, Any] = {"model": "linear", "data": "plane", "lr": 0.05, "batch_size": 8, "epochs": 14, "seed": 729}
    (finding,) = findings(partial_last_batch, train(**options, samples=1601, drop_last=False))
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "step", "likely")
    assert len(finding.boundaries) >= 10
    assert any("rank correlation" in line for line in finding.evidence)
    assert "every batch has 8" in checked(partial_last_batch, train(**options, samples=1601, drop_last=True))


def test_unmixed_samples_make_the_jump_and_not_the_step_on_the_last_few() -> None:
    """Half of the classes come first in each epoch: the loss is up at its begin whatever the last step does."""
    classes = dataset("digits", 1600)[1].numpy()

    def halves(epoch: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
        return np.concatenate([rng.permutation(np.flatnonzero((classes < 5) == first)) for first in (True, False)])

    run = train(data="digits", lr=0.05, batch_size=23, drop_last=False, epochs=8, order=halves)
    found = diagnose(run).findings
    assert found[0].cause == "incomplete_shuffle"
    assert found[0].explains_jump
    assert not [f for f in found if f.cause == "partial_last_batch" and f.explains_jump]


@pytest.mark.parametrize("options", [{"drop_last": True}, {"drop_last": False, "samples": 1280}])
def test_equal_sizes_veto(options: dict[str, Any]) -> None:
    assert "every batch has 64 samples" in checked(
        partial_last_batch, train(data="gaussian", batch_size=64, epochs=6, **options)
    )


def test_the_same_samples_last_in_each_epoch_are_no_bias_of_size() -> None:
    """Without shuffling the last three samples return: whatever they are like is not due to their number."""
    for seed in range(4):
        run = train(data="gaussian", samples=1283, batch_size=64, drop_last=False, shuffle=False, seed=seed, lr=0.05)
        found = [f for f in diagnose(run).findings if f.cause == "partial_last_batch"]
        assert all(f.kind != "fault" for f in found)


def test_sizes_that_vary_by_design_are_left_alone() -> None:
    run = train(epochs=5)
    sizes = np.random.default_rng(0).integers(8, 32, len(run))
    assert "vary all along" in checked(partial_last_batch, replace(run, columns={**run.columns, "batch_size": sizes}))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("batch_size", "epochs"), [(24, 20), (64, 12)])
def test_a_sum_over_a_constant_depends_on_the_size_and_its_twin_does_not(batch_size: int, epochs: int, seed: int) -> None:
    """`mse_loss(reduction="sum") / N` is right for full batches; only the last one tells, and less so the more it overfits."""
    options: dict[str, Any] = {
        "data": "digits", "optimizer": "adam", "lr": 0.003, "samples": 560, "batch_size": batch_size, "epochs": epochs,
        "drop_last": False, "seed": seed,
    }  # fmt: skip
    twin = train(**options)
    last = int(twin.columns["batch_size"][-1])
    assert 0.1 < last / batch_size < 0.9
    run = train(**options, change_loss=lambda mean, losses: losses.sum() / batch_size)
    (finding,) = findings(partial_last_batch, run)
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "depends_on_size", "likely")
    assert any("one size of small batches cannot tell" in line for line in finding.against)
    assert faults(partial_last_batch, twin) == []


def drawn(rng: np.random.Generator, *, heavy: float, factor: float, epochs: int = 16, small: int = 10) -> Run:
    """40 batches of 32 samples an epoch and one of `small`, whose loss is the mean of lognormal ones times `factor`."""
    size = np.tile(np.append(np.full(40, 32), small), epochs)
    level = np.linspace(2.0, 1.0, len(size))
    mean = np.array([rng.lognormal(-(heavy**2) / 2, heavy, n).mean() for n in size])
    return Run.from_arrays(loss=level * mean * np.where(size == small, factor, 1.0), batch_size=size, epoch_length=41)


@pytest.mark.parametrize(("heavy", "small"), [(0.5, 10), (1.5, 10), (2.5, 16)])
def test_a_mean_of_skewed_losses_is_no_sum(heavy: float, small: int) -> None:
    """A mean of few samples of a heavy-tailed loss lies below that of many in most epochs."""
    rng = np.random.default_rng(4)
    decided = {"mean": [0, 0], "sum": [0, 0]}
    for _ in range(60):
        for name, factor in (("mean", 1.0), ("sum", small / 32)):
            context = build_context(drawn(rng, heavy=heavy, factor=factor, small=small))
            found = last_batches(context, 32.0, 0.9)
            told = proportion(found, 32.0, samples=16 * small)
            decided[name][0] += told.is_mean()
            decided[name][1] += told.is_sum() or is_sum(found, 32.0, samples=16 * small)
    assert decided["mean"][1] == 0
    assert decided["sum"][0] == 0
    if heavy == 0.5:
        assert decided["mean"][0] >= 50
        assert decided["sum"][1] == 60


def test_a_criterion_that_takes_the_mean_is_believed() -> None:
    summed_up = drawn(np.random.default_rng(1), heavy=0.5, factor=10 / 32)
    assert [f.detail for f in findings(partial_last_batch, summed_up)] == ["depends_on_size"]
    facts = {"criterion": {"class": "CrossEntropyLoss", "reduction": "mean"}, "loss_source": "criterion"}
    assert faults(partial_last_batch, replace(summed_up, facts=facts)) == []


def test_what_the_last_batches_cannot_tell_is_said() -> None:
    """Four last batches that stray as far as one sample may, up and down, fit a mean and a sum."""
    run = train(data="plane", model="mlp", optimizer="adam", lr=0.003, samples=1283, batch_size=64, drop_last=False, epochs=4)
    ends = [epoch.last - 1 for epoch in run.epochs]
    size, loss = run.columns["batch_size"].copy(), run.loss.copy()
    size[ends] = 3
    for end, sign in zip(ends, (1, -1, 1, -1), strict=True):
        loss[end] = loss[end - 8 : end].mean() + sign * 5 * np.std(np.diff(loss[end - 20 : end])) / np.sqrt(2)
    (finding,) = findings(partial_last_batch, replace(run, columns={**run.columns, "loss": loss, "batch_size": size}))
    assert (finding.kind, finding.strength) == ("artifact", "possible")
    assert "is fine" not in finding.text
    assert any("cannot tell whether the loss is a mean or a sum" in line for line in finding.against)


def test_a_last_batch_of_nearly_the_usual_size_is_counted_and_not_judged() -> None:
    """29 of 32, as 1,597 samples give."""
    said = checked(partial_last_batch, train(data="gaussian", samples=1597, batch_size=32, drop_last=False, epochs=6))
    assert said.startswith("6 epochs ended with 29 of 32 samples")


def test_a_number_in_the_place_of_a_loss_that_is_not_finite_is_no_matter_of_the_size() -> None:
    """Two of twelve last batches were logged as 0."""
    rng = np.random.default_rng(2)
    size = np.tile([32.0] * 37 + [16.0], 12)
    loss = 0.6 + 0.4 * np.exp(-np.arange(len(size)) / 80) + 0.1 * rng.normal(size=len(size)) * np.sqrt(32 / size)
    rows = [38 * 6 - 1, 38 * 9 - 1, 100, 200, 300]
    loss[rows] = 0
    context = build_context(Run.from_arrays(loss=loss, epoch_length=38, batch_size=size))
    assert isinstance(partial_last_batch.find(context), Finding)
    hidden = Finding("hidden_nonfinite", "artifact", "likely", "", "", steps=tuple(rows))
    assert isinstance(partial_last_batch.find(replace(context, earlier=(hidden,))), Checked)
