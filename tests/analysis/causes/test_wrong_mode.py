"""The mode of the model at each step, on real trainings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tb_losslens.analysis.causes import wrong_mode
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.trainings import train


def _with_bn_updates(run: Run, updates: int) -> Run:
    events = tuple(
        replace(e, fields={**e.fields, "bn_updates": updates}) if e.kind == "validation_end" else e for e in run.events
    )
    return replace(run, events=events)


@pytest.mark.parametrize(("model", "lr", "modules"), [("dropout", 0.1, (1, 0)), ("batchnorm", 0.1, (0, 1))])
def test_training_stays_in_eval_mode_after_a_validation(model: str, lr: float, modules: tuple[int, int]) -> None:
    """A mid-training validation, at the end of epoch 4, leaves the model in eval mode."""
    facts = {"model": {"class": "Sequential", "dropout": modules[0], "batchnorm": modules[1]}}
    run = train(model=model, lr=lr, data="gaussian", epochs=9, training_mode=lambda step, epoch: epoch < 5, facts=facts)
    onset = run.epochs[5].first
    (finding,) = findings(wrong_mode, run)
    assert (finding.detail, finding.kind, finding.strength) == ("training_in_eval", "fault", "proved")
    assert finding.boundaries == (4,)
    assert finding.steps == (onset, len(run) - 1)
    assert f"{len(run) - onset:,} of {len(run):,} training steps" in finding.evidence[0]
    assert finding.evidence[0].span == (onset, len(run))
    assert f"step {onset}" in finding.confirm
    assert "model.train()" in finding.fix


def test_dropout_that_goes_off_explains_the_drop() -> None:
    run = train(model="dropout", epochs=10, training_mode=lambda step, epoch: epoch < 6)
    (finding,) = findings(wrong_mode, run)
    assert finding.explains_jump
    assert finding.boundaries == (5,)
    assert finding.share is not None
    assert finding.share > 0.5
    assert any("the loss moves there by \N{MINUS SIGN}" in line for line in finding.evidence)


def test_healthy_twin_is_fine() -> None:
    run = train(model="dropout", lr=0.3, data="wide", epochs=10, batch_size=16)
    assert "no training step of 1,000 ran in evaluation mode" in checked(wrong_mode, run)


def test_part_of_the_model_frozen_by_design_is_no_finding() -> None:
    run = train(model="batchnorm", epochs=6)
    half = replace(run, columns={**run.columns, "train_mode": np.full(len(run), 0.5)})
    assert "frozen layers" in checked(wrong_mode, half)


def test_eval_mode_all_along_is_said_but_explains_nothing() -> None:
    facts = {"model": {"class": "Net", "dropout": 2, "batchnorm": 0}}
    run = train(model="dropout", epochs=6, training_mode=lambda step, epoch: False, facts=facts)
    (finding,) = findings(wrong_mode, run)
    assert finding.kind == "fault"
    assert not finding.explains_jump
    assert finding.share is None
    assert any("may be meant" in line for line in finding.against)


def test_what_came_before_a_late_watch_is_not_called_fine() -> None:
    run = train(model="dropout", epochs=6)
    mode = run.float("train_mode").copy()
    mode[: len(run) // 2] = np.nan
    late = replace(run, columns={**run.columns, "train_mode": mode})
    told = skipped(wrong_mode, late)
    assert f"not recorded before step {len(run) // 2}" in told.why
    assert "before the first batch" in told.how
    mode[5:] = 1.0
    assert "no training step" in checked(wrong_mode, replace(run, columns={**run.columns, "train_mode": mode}))


def test_a_frozen_model_that_gives_features_is_in_eval_mode_for_that() -> None:
    facts = {"model": {"class": "Net", "dropout": 2, "batchnorm": 1, "trainable": 0}}
    run = train(model="dropout", epochs=6, training_mode=lambda step, epoch: False, facts=facts)
    assert "nothing in the watched model is trained" in checked(wrong_mode, run)


def test_a_model_without_modes_is_harmless() -> None:
    facts = {"model": {"class": "Linear", "dropout": 0, "batchnorm": 0}}
    run = train(
        model="linear", epochs=6, training_mode=lambda step, epoch: epoch < 2, validation_mode=lambda epoch: True, facts=facts
    )
    both = findings(wrong_mode, run)
    assert {f.detail for f in both} == {"training_in_eval", "validation_in_train"}
    assert {f.kind for f in both} == {"benign"}
    assert not any(f.explains_jump for f in both)


def test_eval_mode_from_a_validation_in_the_middle_of_each_epoch() -> None:
    """The top of the epoch sets the mode right, so every boundary is a change of mode."""
    run = train(model="dropout", data="gaussian", samples=3200, epochs=10, training_mode=lambda step, epoch: step % 100 < 50)
    (finding,) = findings(wrong_mode, run)
    assert finding.boundaries == tuple(range(9))
    assert finding.steps[:3] == (50, 150, 250)
    assert finding.explains_jump
    assert "in batches 51 to 100 of 10 epochs" in finding.text
    model = torch.nn.Dropout()
    seen: list[bool] = []
    names = {"model": model, "torch": torch, "val_loader": [], "validate": lambda model, _: seen.append(model.training)}
    exec(finding.fix, names)  # in the middle of an epoch
    assert (seen, model.training) == ([False], True)


@pytest.mark.parametrize("model", ["dropout", "cnn"])
def test_validation_in_training_mode(model: str) -> None:
    facts = {"model": {"class": "Net", "dropout": int(model == "dropout"), "batchnorm": int(model == "cnn")}}
    run = train(model=model, lr=0.05, epochs=6, validation_mode=lambda epoch: epoch >= 3, facts=facts)
    (finding,) = findings(wrong_mode, run)
    assert (finding.detail, finding.kind, finding.strength) == ("validation_in_train", "fault", "proved")
    assert not finding.explains_jump
    assert "3 of 6 validations" in finding.text
    assert finding.steps == tuple(run.epochs[e].last for e in (3, 4, 5))


def test_statistics_that_move_in_a_validation_are_proof_whatever_the_mode_says() -> None:
    run = _with_bn_updates(train(model="cnn", lr=0.05, epochs=4), 3)
    (finding,) = findings(wrong_mode, run)
    assert finding.detail == "validation_in_train"
    assert any("12 times" in line for line in finding.evidence)
    assert "none of 4 validations" in checked(wrong_mode, _with_bn_updates(run, 0))


def test_in_a_steep_first_epoch_the_effect_is_left_open() -> None:
    """Dropout is off from the second epoch on; the curve falls so fast there that its own cuts move as much."""
    run = train(
        data="digits", model="dropout", optimizer="adam", lr=0.001, batch_size=16, epochs=6, training_mode=lambda s, e: e < 1
    )
    (finding,) = findings(wrong_mode, run)
    assert (finding.kind, finding.strength, finding.boundaries) == ("fault", "proved", (0,))
    assert not finding.explains_jump
    assert any("an effect within that range cannot be told" in line for line in finding.against)
    assert "does not explain" not in diagnose(run).verdict
