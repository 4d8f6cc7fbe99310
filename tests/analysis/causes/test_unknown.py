"""Jumps that nothing explains, and jumps that something does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tb_losslens.analysis.causes import unknown
from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.analysis.finding import Checked, Finding
from tb_losslens.store.run import Run, RunEvent
from tests.analysis.contexts import checked, findings
from tests.analysis.series import healthy, jumping

STEP = 1 + 0.1 * np.random.default_rng(0).normal(size=480)
STEP[200:] += 1.0


def test_one_step_is_named_with_its_place_and_what_to_record() -> None:
    (found,) = findings(unknown, Run.from_arrays(loss=STEP, epoch_length=40))
    assert (found.kind, found.strength, found.detail) == ("unknown", "possible", "step_up")
    assert found.boundaries == (4,)
    assert found.steps == (200,)
    assert "step up of +" in found.text
    assert "boundary 5 (step 200)" in found.text
    assert "train_loader = writer.wrap(train_loader)" in found.missing


def test_with_everything_recorded_it_asks_for_an_experiment() -> None:
    n = np.ones(480)
    run = Run.from_arrays(
        loss=STEP, epoch_length=40, lr=n, train_mode=n, grad_norm=n, input_mean=n, batch_size=n, sample_ids=n, classes=n
    )
    (found,) = findings(unknown, run)
    assert not found.missing
    assert "Run the batches around step 200 again" in found.advice


def test_a_signal_that_changes_at_the_jump_is_not_said_to_have_no_cause_in_it() -> None:
    """Half of the model in evaluation mode, or a larger batch, from the jump on; what stays as it is is listed as before."""
    n = np.ones(480)
    late = np.where(np.arange(480) < 200, 1.0, 0.5)
    loss = Run.from_arrays(loss=STEP, epoch_length=40, lr=n, train_mode=late, batch_size=32 / late)
    (found,) = findings(unknown, loss)
    assert "looked at, and no cause in it: LR" in found.evidence
    assert any("mode changes here, from 1 to 0.5" in line for line in found.evidence)
    assert any("batch size changes here, from 32 to 64" in line for line in found.evidence)


def test_a_state_that_was_loaded_at_the_jump_is_said() -> None:
    run = Run.from_arrays(loss=STEP, epoch_length=40)
    loaded = RunEvent("restore", 200, 200, 0.0, "state of the model loaded", {"what": "model"})
    (found,) = findings(unknown, replace(run, events=(*run.events, loaded)))
    assert any("`load_state_dict` was called there" in line for line in found.evidence)
    (found,) = findings(unknown, replace(run, events=(*run.events, replace(loaded, batch=100))))
    assert not any("load_state_dict" in line for line in found.evidence)


def test_states_that_were_not_read_at_the_jump_are_said() -> None:
    run = Run.from_arrays(loss=STEP, epoch_length=40)
    for row, expected in ((200, True), (160, False)):
        begin = RunEvent("epoch_begin", row, row, 0.0, "", {"epoch": row // 40, "states_read": False})
        (found,) = findings(unknown, replace(run, events=(*run.events, begin)))
        assert any("changed at boundary 5 is not known: epochs are so short" in line for line in found.evidence) is expected
    late = RunEvent("epoch_begin", 200, 200, 0.0, "", {"epoch": 5, "states_read": False, "late": True})
    (found,) = findings(unknown, replace(run, events=(*run.events, late)))
    assert any("`writer.start_epoch(epoch)`" in line for line in found.evidence)


def test_a_direction_over_all_boundaries_is_unknown_too() -> None:
    (found,) = findings(unknown, jumping(np.random.default_rng(1), 2.0))
    assert len(found.boundaries) >= 8


def test_explained_boundaries_are_not_unknown() -> None:
    context = build_context(Run.from_arrays(loss=STEP, epoch_length=40))
    lr = Finding("lr_increase", "fault", "likely", "t", "t", boundaries=(4,))
    assert isinstance(unknown.find(replace(context, earlier=(lr,))), Checked)
    beside = replace(lr, explains_jump=False)
    assert isinstance(unknown.find(replace(context, earlier=(beside,))), Finding)


def test_a_healthy_run_has_nothing_unknown() -> None:
    for seed in range(10):
        assert checked(unknown, healthy(np.random.default_rng(seed))) == "no jump beyond noise is left to explain"


@pytest.mark.parametrize(("epochs", "title"), [(6, "Too few boundaries"), (12, "Larger than noise")])
def test_jumps_outside_their_band_are_not_called_noise_where_no_test_can_tell(epochs: int, title: str) -> None:
    """Every second epoch lies three standard errors higher: no common sign, no jump that is significant alone."""
    noise = np.random.default_rng(32).standard_normal(epochs * 40)
    loss = 1.0 + 0.1 * noise + 0.2 * (np.arange(epochs * 40) // 40 % 2)
    diagnosis = diagnose(Run.from_arrays(loss=loss, epoch_length=40))
    assert [f.cause for f in diagnosis.findings] == ["unknown"]
    assert diagnosis.verdict.startswith(title)
    out = sum(not b.placebo_low <= b.jump <= b.placebo_high for b in diagnosis.boundaries)
    assert f"{out} of {epochs - 1}" in diagnosis.verdict
    assert "Nothing to fix" not in diagnosis.to_markdown()
