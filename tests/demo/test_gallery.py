"""The gallery judges rightly, and a small part of it is diagnosed rightly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from demo.gallery.catalogue import LOOPS, Training, train, trainings
from demo.gallery.judge import HEALTHY, NOTHING, Score, judge, summary
from demo.gallery.loop import Truth
from demo.gallery.properties import chosen, exceptions
from tb_losslens import Diagnosis, Run, diagnose, load_runs
from tb_losslens.analysis.causes import CAUSES
from tb_losslens.analysis.finding import Finding
from tests.demo.here import train_here

PART = (
    Training("Loop", "mlp", 5),
    Training("Loop", "cnn", 5),
    Training("RunningMean", "regression", 5),
    Training("LastBatchOfValidation", "cnn", 5),
    Training("SortedData", "cnn", 5),
    Training("SpoiledLabels", "cnn", 5),
    Training("OtherNumbering", "sgd", 5),
    Training("RareClass", "sgd", 5),
    Training("SpoiledInputs", "regression", 5),
    Training("OtherNormalization", "mlp", 5),
    Training("OptimizerEachEpoch", "mlp", 5),
    Training("OldCheckpoint", "cnn", 5),
    Training("RaisedTenfold", "sgd", 5),
    Training("SoftmaxTwice", "mlp", 5),
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Training, Run]:
    logdir: Path = tmp_path_factory.mktemp("gallery")
    table = {f"run{number}": one for number, one in enumerate(PART)}
    train_here(partial(train, table), table, logdir)
    loaded = load_runs(str(logdir))
    return {one: loaded[run] for run, one in table.items()}


@pytest.fixture(scope="module")
def scores(recorded: Mapping[Training, Run]) -> Mapping[Training, Score]:
    return {one: judge(LOOPS[one.loop].TRUTH, diagnose(run)) for one, run in recorded.items()}


@pytest.mark.parametrize("one", PART, ids=lambda one: f"{one.loop}-{one.base}")
def test_a_part_of_the_gallery_is_told_apart(one: Training, scores: Mapping[Training, Score]):
    score = scores[one]
    assert score.first, score
    assert score.located is not False, score
    assert not score.others, score


@pytest.mark.parametrize("one", PART, ids=lambda one: f"{one.loop}-{one.base}")
def test_what_is_left_out_of_a_recording_makes_no_other_fault(one: Training, recorded: Mapping[Training, Run]):
    """`python -m demo.gallery.properties` leaves out every part of every recording."""
    run = replace(recorded[one], name=one.loop)
    assert not list(exceptions(run, chosen(run, 6)))


def test_the_answers_are_causes_that_there_are():
    known = {cause.ID for cause in CAUSES}
    for name, loop in LOOPS.items():
        named = {answer.partition("/")[0] for answer in (*loop.TRUTH.answers, *loop.TRUTH.may)}
        assert named <= known, name
        assert loop.ON, name


def test_every_fault_and_every_twin_is_trained():
    every = trainings([0, 1])
    assert len(set(every)) == len(every)
    assert {one.loop for one in every} == set(LOOPS)
    assert {one.seed for one in every} == {0, 1}


# --- the judge --------------------------------------------------------------------------------------------------------


def diagnosis(*findings: Finding) -> Diagnosis:
    rng = np.random.default_rng(0)
    made = diagnose(Run.from_arrays(loss=1 + 0.1 * rng.standard_normal(400), epoch_length=50))
    return replace(made, findings=findings)


def finding(
    cause: str, *, kind: str = "fault", detail: str = "", boundaries: tuple[int, ...] = (), step: int | None = None
) -> Finding:
    steps = () if step is None else (step,)
    return Finding(cause, kind, "likely", "", "", detail=detail, boundaries=boundaries, steps=steps)


def test_the_first_and_the_first_three():
    truth = Truth(("wrong_mode/training_in_eval",))
    right, other = finding("wrong_mode", detail="training_in_eval"), finding("lr_too_high")
    assert judge(truth, diagnosis(right, other)).first
    second = judge(truth, diagnosis(other, right))
    assert (second.first, second.third, second.said, second.others) == (False, True, "lr_too_high", ("lr_too_high",))
    assert not judge(truth, diagnosis(other, other, other, right)).third
    assert not judge(truth, diagnosis(finding("wrong_mode", detail="validation_in_train"))).third


def test_nothing_said_and_noise_beside():
    truth = Truth(("wrong_mode",))
    assert judge(truth, diagnosis()).said == NOTHING
    assert judge(truth, diagnosis(finding("unknown", kind="unknown"))).said == NOTHING
    assert judge(truth, diagnosis(finding("batch_noise", kind="benign"), finding("wrong_mode"))).first


@pytest.mark.parametrize(
    ("boundaries", "step", "located"),
    [((2, 3), None, True), ((4,), None, False), ((), 150, True), ((), 153, False), ((), None, False)],
)
def test_the_place_of_a_boundary(boundaries: tuple[int, ...], step: int | None, located: bool):
    truth = Truth(("wrong_mode",), epoch=3)
    assert judge(truth, diagnosis(finding("wrong_mode", boundaries=boundaries, step=step))).located is located


@pytest.mark.parametrize(("step", "located"), [(118, True), (122, True), (123, False), (None, False)])
def test_the_place_of_a_batch(step: int | None, located: bool):
    assert judge(Truth(("bad_batch",), step=120), diagnosis(finding("bad_batch", step=step))).located is located
    assert judge(Truth(("bad_batch",)), diagnosis(finding("bad_batch", step=step))).located is None


def test_a_healthy_training_may_have_what_is_no_fault():
    assert judge(Truth(), diagnosis(finding("memorization", kind="benign"))).first
    alarm = judge(Truth(), diagnosis(finding("memorization", kind="benign"), finding("overfitting")))
    assert (alarm.truth, alarm.first, alarm.others) == (HEALTHY, False, ("overfitting",))


def test_the_figures():
    right = Score("a", "a", True, True, True, ())
    figures = summary([right, right, Score("a", "b", False, True, False, ("b",)), Score("c", NOTHING, False, False, None, ())])
    assert figures["right_cause_first"] == 0.5
    assert figures["right_cause_in_first_three"] == 0.75
    assert figures["located"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["nothing_said"] == 0.25
    assert figures["matrix"] == {"a": {"a": 2, "b": 1}, "c": {NOTHING: 1}}
    assert figures["healthy_with_a_fault"] == 0
