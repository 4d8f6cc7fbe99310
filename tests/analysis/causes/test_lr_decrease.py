"""Cuts of the learning rate on real trainings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.causes import lr_decrease
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.trainings import train


def plane(schedule: object, *, optimizer: str = "sgd", lr: float = 0.35, **options: object) -> Run:
    kept = {"model": "linear", "data": "plane", "samples": 6400, "batch_size": 64}
    return train(**kept, **options, optimizer=optimizer, lr=lr, schedule=schedule)  # type: ignore[arg-type]


def cut_at_six(step: int, total: int, per_epoch: int) -> float:
    return 1.0 if step // per_epoch < 6 else 0.1


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.35), ("momentum", 0.07)])
def test_a_cut_that_lowers_the_floor(optimizer: str, lr: float) -> None:
    run = plane(cut_at_six, optimizer=optimizer, lr=lr)
    (finding,) = findings(lr_decrease, run)
    assert (finding.kind, finding.strength) == ("benign", "likely")
    assert finding.boundaries == (5,)
    assert finding.steps == (run.epochs[6].first,)
    assert finding.explains_jump
    assert finding.fix == ""


def test_a_cut_inside_an_epoch() -> None:
    (finding,) = findings(lr_decrease, plane(lambda s, t, p: 1.0 if s < 650 else 0.05))
    assert finding.steps == (650,)
    assert finding.boundaries == ()


def test_a_constant_rate_has_no_cut() -> None:
    assert checked(lr_decrease, plane("constant")) == "the learning rate is never cut at once"


def test_a_cut_that_the_loss_ignores() -> None:
    run = train(data="gaussian", lr=0.01, schedule=cut_at_six)
    assert "at boundary 6, with no fall of the loss beyond noise" in checked(lr_decrease, run)


def test_a_cut_after_a_rise_is_a_reaction() -> None:
    """The data turns bad at the end of epoch 3, the loss goes up, and two epochs later the LR is cut."""
    run = plane(lambda s, t, p: 0.1 if s // p < 6 else 0.05, change_targets=lambda y, step, epoch: y * (1 if epoch < 4 else 3))
    said = checked(lr_decrease, run)
    assert "the loss rose at boundary 4" in said
    assert "it answers the rise and did not cause it" in said


def test_a_fall_at_every_boundary_is_not_laid_to_the_one_with_a_cut() -> None:
    """A net that learns its few samples by heart falls at all boundaries; the LR is cut at two of them."""
    run = train(
        model="deep", data="wide", samples=600, batch_size=8, optimizer="adam", lr=0.001, epochs=10,
        schedule=lambda s, t, p: 1.0 if s // p < 5 else 0.7,
    )  # fmt: skip
    found = findings(lr_decrease, run)
    assert all(f.strength != "proved" and (f.share is None or f.share >= 0.3) for f in found)


def test_scale_and_shift_of_the_loss_do_not_matter() -> None:
    run = plane(cut_at_six)
    scaled = replace(run, columns={**run.columns, "loss": 1000 * run.loss})
    (a,), (b,) = findings(lr_decrease, run), findings(lr_decrease, scaled)
    assert (a.boundaries, a.steps, a.strength) == (b.boundaries, b.steps, b.strength)


def test_unknown_and_zero_rates_are_survived() -> None:
    run = plane(cut_at_six, epochs=8)
    lr = np.array(run.columns["lr"])
    lr[::7] = np.nan  # batches without an optimiser step
    (finding,) = findings(lr_decrease, replace(run, columns={**run.columns, "lr": lr}))
    assert finding.boundaries == (5,)
    zero = replace(run, columns={**run.columns, "lr": np.zeros(len(run))})
    assert "never cut" in checked(lr_decrease, zero)
