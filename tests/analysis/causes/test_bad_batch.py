"""Broken batches on real trainings: scaled inputs, wrong labels, NaN, the same samples again and again; and what is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tb_losslens.analysis.causes import bad_batch
from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.finding import Finding
from tb_losslens.analysis.outliers import local_level, spans, standing_apart
from tb_losslens.store.run import Ragged, Run
from tests.analysis.contexts import checked, findings
from tests.trainings import train

Change = Callable[[Tensor, int, int], Tensor]


def between(first: int, last: int, change: Callable[[Tensor], Tensor]) -> Change:
    return lambda values, step, epoch: change(values) if first <= step <= last else values


SPANS = [
    ("mlp", "digits", "adam", 0.002),
    ("mlp", "gaussian", "sgd", 0.05),
    ("mlp", "plane", "adam", 0.003),
]


@pytest.mark.parametrize(("model", "data", "optimizer", "lr"), SPANS)
def test_a_span_of_scaled_inputs_is_found_by_number_and_id(
    model: str, data: str, optimizer: str, lr: float, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(
        model=model, data=data, optimizer=optimizer, lr=lr, batch_size=16, epochs=8,
        change_inputs=between(200, 219, lambda x: x * 20),
    )  # fmt: skip
    (finding,) = findings(bad_batch, run)
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "inputs", "likely")
    assert finding.steps == (200, 219)
    assert "20 batches" in finding.title
    assert finding.evidence[0].span == (180, 240)
    ids = run.ragged["sample_ids"][200].tolist()
    assert any(f"sample ids: {ids[0]:,}, {ids[1]:,}" in line for line in finding.evidence)
    assert f"for i in [{ids[0]}, {ids[1]}, " in finding.fix
    sample = (torch.ones(3), torch.tensor(1))
    exec(finding.fix, {"dataset": [sample] * (max(ids) + 1000), "step": 210, "x": torch.tensor([[1.0, -2.0], [90.0, 0.0]])})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith(f"{ids[0]} ")
    assert printed[-1] == "tensor([ 2., 90.])"  # of each sample, for a batch that was broken after the loader


@pytest.mark.parametrize(("model", "data", "optimizer", "lr"), SPANS)
def test_a_single_batch_without_ids(model: str, data: str, optimizer: str, lr: float) -> None:
    run = train(
        model=model, data=data, optimizer=optimizer, lr=lr, batch_size=16, epochs=8,
        change_inputs=between(203, 203, lambda x: x * 30 + 5),
    )  # fmt: skip
    (finding,) = findings(bad_batch, replace(run, ragged={}))
    assert finding.steps == (203,)
    assert finding.missing == ("train_loader = writer.wrap(train_loader)",)
    assert "if 203 <= step <= 203" in finding.fix


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_labels_of_one_class_stand_apart(model: str) -> None:
    run = train(model=model, lr=0.1, change_targets=between(100, 103, lambda y: y * 0 + 7))
    (finding,) = findings(bad_batch, run)
    assert (finding.detail, finding.steps) == ("targets", (100, 103))
    assert finding.evidence[0].signal == "classes"


def test_targets_of_a_regression_in_another_unit() -> None:
    run = train(data="regression", optimizer="adam", lr=0.003, change_targets=between(100, 101, lambda y: y * 50))
    (finding,) = findings(bad_batch, run)
    assert (finding.detail, finding.steps) == ("targets", (100, 101))


def test_shuffled_labels_leave_only_a_box_in_the_loss() -> None:
    """Class mix and inputs are as always; the loss steps up and down at once."""
    run = train(
        data="digits", batch_size=16, optimizer="adam", lr=0.002, change_targets=between(200, 219, lambda y: (y + 3) % 10)
    )
    (finding,) = findings(bad_batch, run)
    assert (finding.strength, finding.steps) == ("possible", (200, 219))
    assert any("wrong labels" in line for line in finding.against)


def test_a_span_within_the_recovery_from_an_explained_jump_is_no_fault_of_its_own() -> None:
    """The same box, soon after a boundary whose jump something explains; a recovery that is over before hides none."""
    run = train(
        data="digits", batch_size=16, optimizer="adam", lr=0.002, change_targets=between(200, 219, lambda y: (y + 3) % 10)
    )
    context = build_context(run)
    shift = Finding("input_shift", "fault", "proved", "t", "t", boundaries=(1,))

    def found(recovery: int | None, *earlier: Finding) -> bool:
        boundaries = [replace(b, significant=b.index == 1, recovery=recovery) for b in context.boundaries]
        said = bad_batch.find(replace(context, boundaries=tuple(boundaries), earlier=earlier))
        return any(isinstance(outcome, Finding) for outcome in said)

    assert context.boundaries[1].batch == 186
    assert not found(40, shift)
    assert found(30, shift)
    assert found(40)
    assert found(40, replace(shift, explains_jump=False))


def test_the_same_samples_each_epoch_are_recurring() -> None:
    """Two files are damaged and decode to loud noise: every batch that holds one of them spikes."""
    run = _with_broken_samples({17, 401})
    (finding,) = findings(bad_batch, run)
    assert finding.detail == "recurring"
    assert "samples 17 and 401" in " ".join(finding.evidence)
    assert finding.fix.startswith("for i in [17, 401]")


def test_the_healthy_twin_has_no_recurring_samples() -> None:
    assert "no batch stands apart" in checked(bad_batch, _with_broken_samples(set()))


def _with_broken_samples(broken: set[int]) -> Run:
    """The order is drawn here so that the change of the inputs knows which samples a batch holds."""
    orders = [np.random.default_rng(e).permutation(1380) for e in range(8)]

    def change(x: Tensor, step: int, epoch: int) -> Tensor:
        index = step - epoch * 43
        ids = orders[epoch][index * 32 : index * 32 + 32]
        bad = np.isin(ids, list(broken))
        x = x.clone()
        x[bad] = torch.randn_like(x[bad]) * 20
        return x

    options: dict[str, Any] = {"optimizer": "adam", "lr": 0.002, "epochs": 8}
    return train(data="digits", order=lambda e, n, rng: orders[e], change_inputs=change, **options)


@pytest.mark.parametrize("batch_size", [4, 64])
@pytest.mark.parametrize(
    ("model", "data", "optimizer", "lr"),
    [("mlp", "digits", "adam", 0.003), ("deep", "wide", "adam", 0.001), ("mlp", "regression", "adam", 0.01)],
)
def test_noise_of_healthy_batches_is_none(model: str, data: str, optimizer: str, lr: float, batch_size: int) -> None:
    run = train(
        model=model, data=data, optimizer=optimizer, lr=lr, batch_size=batch_size, samples=800, epochs=5, drop_last=False
    )
    assert "no batch stands apart" in checked(bad_batch, run)


def test_an_lr_jump_is_no_bad_batch() -> None:
    run = train(data="plane", model="mlp", lr=0.2, batch_size=32, schedule=lambda s, t, p: 2.0 if 250 <= s < 270 else 0.1)
    assert findings(bad_batch, run) == []


def test_heavy_tails_have_no_values_apart() -> None:
    """Student t with 2.5 degrees of freedom has gaps by chance; of 300 samples of 1,000 few may pass for apart."""
    rng = np.random.default_rng(5)
    alarms = sum(len(standing_apart(np.abs(rng.standard_t(2.5, 1000)) / 0.8)) > 0 for _ in range(300))
    assert alarms <= 9
    normal = sum(len(standing_apart(np.abs(rng.normal(size=1000)) * 3)) > 0 for _ in range(300))
    assert normal == 0


@pytest.mark.parametrize("factor", [1e-12, 1.0, 1e12])
def test_outliers_do_not_depend_on_the_unit(factor: float) -> None:
    run = train(data="plane", model="mlp", optimizer="adam", lr=0.003, change_inputs=between(90, 92, lambda x: x * 20))
    columns = {**run.columns, "input_mean": factor * run.float("input_mean"), "input_std": factor * run.float("input_std")}
    columns["loss"] = factor * run.loss
    (finding,) = findings(bad_batch, replace(run, columns=columns))
    assert finding.steps == (90, 92)


def test_local_level_ignores_a_bad_block_and_spans_join_neighbours() -> None:
    values = np.concatenate([np.ones(200), np.full(50, 40.0), np.ones(200)]) + np.random.default_rng(0).normal(0, 0.01, 450)
    level, sigma = local_level(values)
    assert np.abs(level - 1).max() < 0.02
    assert sigma.min() > 0.003
    assert spans(np.array([3, 4, 6, 20, 21])) == [(3, 6), (20, 21)]
    assert spans(np.array([], dtype=np.int64)) == []


@pytest.mark.parametrize("batch_size", [16, 64])
def test_two_bad_samples_of_many_are_named_though_the_model_learns_them(batch_size: int) -> None:
    """With 64 a batch an eighth of all batches holds one; the model fits them after an epoch or two."""
    run = _with_two_samples(batch_size, lambda v: -30 * v)
    (finding,) = findings(bad_batch, run)
    assert (finding.detail, finding.strength) == ("recurring", "likely")
    held = np.array([np.isin(run.ragged["sample_ids"][row], (17, 401)).any() for row in range(len(run))])
    assert set(finding.steps) == set(np.flatnonzero(held).tolist())
    assert finding.fix.startswith("for i in [17, 401]")


def test_batches_of_another_kind_are_not_single_bad_samples() -> None:
    """A fifth of the batches comes from another source as a whole, each epoch, as with a sampler that groups by source."""

    def by_source(epoch: int, n: int, rng: np.random.Generator) -> Any:
        own, other = rng.permutation(1000), 1000 + rng.permutation(n - 1000)
        blocks = [*np.split(own[:992], 31), *np.split(other[:192], 6)]
        return np.concatenate([blocks[k] for k in rng.permutation(len(blocks))])

    orders = [by_source(e, 1380, np.random.default_rng(e)) for e in range(8)]

    def change(x: Tensor, step: int, epoch: int) -> Tensor:
        index = step - epoch * 37
        return x * 20 if orders[epoch][index * 32] >= 1000 else x

    run = train(
        data="digits",
        samples=1600,
        optimizer="adam",
        lr=0.002,
        epochs=8,
        order=lambda e, n, rng: orders[e],
        change_inputs=change,
    )
    assert findings(bad_batch, run) == []


def test_inputs_that_stand_apart_without_an_effect_are_mentioned() -> None:
    run = train(data="digits", optimizer="adam", lr=0.002, epochs=8)
    mean = run.float("input_mean").copy()
    mean[[50, 51, 200]] *= 40
    said = checked(bad_batch, replace(run, columns={**run.columns, "input_mean": mean}))
    assert "the mean of the inputs of 3 batches, the first at step 50, stands apart" in said
    assert "harmless so far" in said


@pytest.mark.parametrize(("sigmas", "told"), [(2.8, True), (1.0, False)])
def test_a_span_of_bad_inputs_that_the_gradients_show_together(sigmas: float, told: bool) -> None:
    """None of them stands out by itself: several that were chosen for their inputs are as high by no chance."""
    run = train(data="digits", optimizer="adam", lr=0.002, epochs=8)
    mean, norm = run.float("input_mean").copy(), run.float("grad_norm").copy()
    rows = np.arange(200, 205)
    mean[rows] *= 40
    level, sigma = local_level(np.log(norm))
    norm[rows] = np.exp(level[rows] + sigmas * sigma[rows])
    other = replace(run, columns={**run.columns, "input_mean": mean, "grad_norm": norm})
    found = findings(bad_batch, other)
    assert [f.steps for f in found] == ([(200, 204)] if told else [])
    assert all("their gradients show it" in f.text for f in found)


def _with_two_samples(batch_size: int, bad: Callable[[Tensor], Tensor]) -> Run:
    orders = [np.random.default_rng(e).permutation(1380) for e in range(8)]
    per_epoch = 1380 // batch_size

    def change(x: Tensor, step: int, epoch: int) -> Tensor:
        first = (step - epoch * per_epoch) * batch_size
        rows = np.isin(orders[epoch][first : first + batch_size], (17, 401))
        x = x.clone()
        x[rows] = bad(x[rows])
        return x

    return train(
        data="digits", order=lambda e, n, rng: orders[e], change_inputs=change, batch_size=batch_size,
        optimizer="sgd", lr=0.05, epochs=8,
    )  # fmt: skip


@pytest.mark.parametrize("bad", [True, False])
def test_a_span_of_one_class_in_small_batches_of_few_classes(bad: bool) -> None:
    """Five classes, 16 samples a batch: no batch of one class comes by chance, though its distance is no extreme."""
    rng = np.random.default_rng(2)
    mixes = rng.multinomial(16, [0.16, 0.21, 0.21, 0.21, 0.21], 1000)
    loss = 0.9 * rng.gamma(16, 1 / 16, 1000)
    if bad:
        mixes[562:574] = [16, 0, 0, 0, 0]
        loss[562:574] += 2
    run = Run.from_arrays(loss=loss, batch_size=np.full(1000, 16), epoch_length=125)
    classes = Ragged.from_lists([[(k, n) for k, n in enumerate(mix) if n] for mix in mixes.tolist()])
    found = findings(bad_batch, replace(run, ragged={"classes": classes}))
    assert [(f.detail, f.steps) for f in found] == ([("targets", (562, 573))] if bad else [])
