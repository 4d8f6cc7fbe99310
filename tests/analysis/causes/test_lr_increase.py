"""Rises of the learning rate on real trainings: by hand, by restarts, by a scheduler built again in each epoch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis.causes import lr_increase
from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.lr_steps import lr_steps
from tb_losslens.analysis.schedule import cycles_lost
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import checked, findings
from tests.trainings import train

COSINE = {"scheduler": {"class": "CosineAnnealingLR", "T_max": 100}}
RESTARTS = {"scheduler": {"class": "CosineAnnealingWarmRestarts", "T_0": 3}}


def cosine(step: int, length: int) -> float:
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step % length) / length))


def each_epoch(step: int, total: int, per_epoch: int) -> float:
    return cosine(step, per_epoch)


def every_third(step: int, total: int, per_epoch: int) -> float:
    return cosine(step, 3 * per_epoch)


def raised_and_cut(step: int, total: int, per_epoch: int) -> float:
    return 1.0 if 4 <= step // per_epoch < 8 else 0.1


def plane(model: str = "linear", **options: Any) -> Run:
    """A linear target with noise: the loss has a floor, and the LR lifts it."""
    lr = {"linear": 0.5, "mlp": 0.2}[model]
    return train(**{"model": model, "data": "plane", "samples": 6400, "batch_size": 64, "lr": lr, **options})


@pytest.mark.parametrize("facts", [COSINE, {}])
def test_a_scheduler_built_again_in_each_epoch(facts: dict[str, Any]) -> None:
    run = plane(schedule=each_epoch, facts=facts)
    (finding,) = findings(lr_increase, run)
    assert (finding.kind, finding.detail) == ("fault", "scheduler_reset")
    assert finding.strength == ("proved" if facts else "likely")
    assert finding.boundaries == tuple(range(11))
    assert finding.steps == tuple(e.first for e in run.epochs[1:])
    assert finding.explains_jump
    assert "11 of 11 boundaries" in finding.text
    assert any("first one of the run, 0.5" in line for line in finding.evidence)
    assert any("none without to compare" in line for line in finding.against)
    assert "T_max=epochs * 100)" in finding.fix


def test_a_replaced_scheduler_is_the_proof_whatever_its_class() -> None:
    run = plane(schedule=each_epoch)
    fields = {"scheduler": {"class": "LambdaLR"}}
    events = [
        RunEvent("config_change", e.first, text="scheduler replaced: now LambdaLR", fields=fields) for e in run.epochs[1:]
    ]
    (finding,) = findings(lr_increase, replace(run, events=(*run.events, *events)))
    assert (finding.detail, finding.strength, finding.kind) == ("scheduler_reset", "proved", "fault")


@pytest.mark.parametrize("facts", [RESTARTS, {}])
def test_restarts_that_the_loss_recovers_from_are_planned(facts: dict[str, Any]) -> None:
    (finding,) = findings(lr_increase, plane(schedule=every_third, facts=facts))
    assert (finding.kind, finding.detail) == ("planned", "warm_restart")
    assert finding.boundaries == (2, 5, 8)
    assert finding.share is not None
    assert finding.share > 0.6


def test_short_cycles_are_judged_too() -> None:
    """One restart an epoch of 50 batches: a quarter of each cycle is compared, and none is called incomplete."""
    (finding,) = findings(lr_increase, plane(batch_size=128, schedule=each_epoch, facts=RESTARTS))
    assert (finding.kind, finding.detail) == ("planned", "warm_restart")
    assert not any("complete yet" in line for line in (*finding.evidence, *finding.against))
    assert any("back at its level by the end of each of" in line for line in (*finding.evidence, *finding.against))


def test_cycles_of_a_few_batches_are_too_short_to_tell() -> None:
    context = build_context(plane(schedule=lambda step, total, per_epoch: cosine(step, 10), facts=RESTARTS))
    rises = [step for step in lr_steps(context) if step.ratio >= 1.2]
    bad, complete, short = cycles_lost(context, rises)
    assert (bad, complete) == (0, 0)
    assert short >= len(rises) - 1


def test_restarts_that_the_loss_does_not_recover_from_are_a_fault() -> None:
    """The recording of a restarted training, with a rise added at each restart that stays to the end of its cycle."""
    run = plane(schedule=every_third, facts=RESTARTS, lr=0.05)
    cycle = np.arange(len(run)) // 300
    (finding,) = findings(lr_increase, replace(run, columns={**run.columns, "loss": run.loss + cycle}))
    assert (finding.kind, finding.detail) == ("fault", "warm_restart")
    assert any("by the end of 3 of 3 cycles" in line for line in finding.evidence)


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_raised_by_hand_at_a_boundary(model: str) -> None:
    run = plane(model, schedule=raised_and_cut)
    (finding,) = findings(lr_increase, run)
    assert (finding.kind, finding.detail, finding.strength) == ("fault", "step", "likely")
    assert finding.boundaries == (3,)
    assert finding.steps == (run.epochs[4].first,)
    low, high = (0.05, 0.5) if model == "linear" else (0.02, 0.2)
    assert f"from {low} to {high}" in finding.text
    assert f"{low:.3g} * ({high:.3g} / {low:.3g}) ** part" in finding.fix


def test_raised_inside_an_epoch() -> None:
    run = plane("mlp", schedule=lambda s, t, p: 0.1 if s < 650 else 1.0)
    (finding,) = findings(lr_increase, run)
    assert finding.boundaries == ()
    assert finding.steps == (650,)
    assert finding.kind == "fault"


def test_a_noted_change_is_planned() -> None:
    run = plane(schedule=raised_and_cut)
    note = RunEvent("config_change", run.epochs[4].first, text="higher LR for the new head", fields={"lr": 0.5})
    (finding,) = findings(lr_increase, replace(run, events=(*run.events, note)))
    assert finding.kind == "planned"
    assert any("higher LR for the new head" in line for line in finding.against)


def test_another_optimiser_at_the_same_step_is_no_fault() -> None:
    run = plane(schedule=raised_and_cut)
    swap = RunEvent(
        "config_change", run.epochs[4].first, text="optimizer replaced: now SGD", fields={"optimizer": {"class": "SGD"}}
    )
    (finding,) = findings(lr_increase, replace(run, events=(*run.events, swap)))
    assert finding.kind == "planned"
    assert any("new optimiser" in line for line in finding.against)


def test_a_low_first_epoch_is_a_warm_up() -> None:
    run = plane(schedule=lambda s, t, p: 0.1 if s < p else 1.0, epochs=8)
    assert all((f.kind, f.detail) == ("planned", "warm_up") for f in findings(lr_increase, run))


def test_a_rise_that_the_loss_ignores_is_no_fault() -> None:
    said = checked(lr_increase, train(data="gaussian", lr=0.01, schedule=lambda s, t, p: 0.5 if s // p < 6 else 1.0))
    assert "rises at boundary 6 (from 0.005 to 0.01), with no rise of the loss beyond noise" in said


def test_a_reset_that_the_loss_ignores_is_a_fault_without_effect() -> None:
    run = train(data="gaussian", lr=0.01, schedule=each_epoch, facts=COSINE)
    (finding,) = findings(lr_increase, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("fault", "proved", False)
    assert "harmless so far" in finding.text
    (limit,) = finding.against
    band = np.median([b.placebo_high for b in build_context(run).boundaries])
    assert f"rise by up to {band:.2g}" in limit


def test_a_reset_of_an_unknown_scheduler_that_the_loss_ignores_is_no_fault() -> None:
    (finding,) = findings(lr_increase, train(data="gaussian", lr=0.01, schedule=each_epoch))
    assert (finding.kind, finding.strength, finding.explains_jump) == ("benign", "possible", False)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda s, t, p: min(1.0, (s // p + 1) / 4),  # warm-up by epochs
        lambda s, t, p: (
            (s + 1) / (0.3 * t) if s < 0.3 * t else 0.5 * (1 + math.cos(math.pi * (s / t - 0.3) / 0.7))
        ),  # one cycle
        lambda s, t, p: 0.25 + 0.75 * abs((s / p) % 2 - 1),  # a triangle: rises and falls, but never at once
        "warmup",
        "cosine",
        "step",
    ],
)
@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_healthy_schedules_are_no_fault(model: str, schedule: Any) -> None:
    assert all(f.kind != "fault" for f in findings(lr_increase, plane(model, schedule=schedule, samples=3200)))


def test_a_steep_part_of_a_smooth_schedule_is_no_step() -> None:
    """The end of a cosine to zero and the start of a warm-up from zero change by large factors from step to step."""
    steps = np.arange(1200)
    for lr in (0.5 * (1 + np.cos(np.pi * steps / 1199)), np.minimum(1, steps / 300), 0.5 * (1 - np.cos(np.pi * steps / 300))):
        run = Run.from_arrays(loss=np.ones(1200), lr=lr, epoch_length=100)
        assert [s for s in lr_steps(build_context(run)) if s.row > 1 and s.ratio > 1] == []


def test_the_second_group_alone_is_seen() -> None:
    run = plane(schedule=raised_and_cut)
    columns = {**run.columns, "lr": np.full(len(run), 0.01), "lr.1": run.columns["lr"]}
    (finding,) = findings(lr_increase, replace(run, columns=columns))
    assert finding.evidence[0].signal == "lr.1"


def stepped(rise: float, seed: int) -> Run:
    """8 epochs of 30 batches: noise, and an LR 30 times as high at boundary 5, which lifts the loss by `rise` in 4 batches."""
    rng = np.random.default_rng(seed)
    at = np.arange(240)
    up = rise * np.clip((at - 149) / 4, 0, 1) * (at < 180)
    lr = np.where(at < 150, 1e-3, 3e-2)
    return Run.from_arrays(loss=0.4 + up + 0.05 * rng.standard_normal(240), lr=lr, epoch_length=30)


def test_a_rise_at_the_boundary_that_the_lr_names_is_found_though_it_is_not_significant_alone() -> None:
    """The loss takes some batches to follow, so that the smaller window sees less of it."""
    found = [f for seed in range(10) for f in findings(lr_increase, stepped(0.2, seed)) if f.boundaries == (4,)]
    assert len(found) >= 8
    assert {f.kind for f in found} == {"fault"}


def test_noise_at_the_boundary_that_the_lr_names_is_no_rise() -> None:
    assert sum(bool(findings(lr_increase, stepped(0.0, seed))) for seed in range(100)) <= 2
