"""Every demo run gets the verdict that is true of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import demo
from demo.catalogue import CAUSES, EXPECT, SEEDS
from tb_losslens import Diagnosis, Run


def test_fifteen_experiments_and_no_file_left_out():
    folder = Path(demo.__file__).parent
    for modules, name in ((SEEDS, "seeds"), (CAUSES, "causes")):
        on_disk = {path.stem for path in (folder / name).glob("*.py")} - {"__init__"}
        assert {module.__name__.rpartition(".")[2] for module in modules} == on_disk
    assert len(SEEDS) == 15


def test_every_run_is_recorded_and_nothing_else(demo_runs: Mapping[str, Run]):
    assert set(demo_runs) == set(EXPECT)


@pytest.mark.parametrize("run", EXPECT)
def test_the_verdict_is_true(run: str, demo_diagnoses: Mapping[str, Diagnosis]):
    diagnosis = demo_diagnoses[run]
    wrong = EXPECT[run].disagreements(diagnosis)
    assert not wrong, f"{diagnosis.verdict}\n" + "\n".join(wrong)


@pytest.mark.parametrize("run", EXPECT)
def test_nothing_is_said_to_be_missing_that_the_script_does(run: str, demo_diagnoses: Mapping[str, Diagnosis]):
    for finding in demo_diagnoses[run].findings:
        assert not [line for line in finding.missing if "wrap(train_loader)" in line], "every script wraps its loader"


def test_bad_batches_are_named_by_number_and_sample(demo_runs: Mapping[str, Run], demo_diagnoses: Mapping[str, Diagnosis]):
    run, diagnosis = demo_runs["bad_batches_500_to_520"], demo_diagnoses["bad_batches_500_to_520"]
    finding = next(f for f in diagnosis.findings if f.cause == "bad_batch")
    assert list(finding.steps[:1]) == [500]
    assert all(500 <= step < 520 for step in finding.steps), "batches outside the span are fine"
    said = " ".join((finding.title, finding.text, *finding.evidence))
    assert "500" in said
    assert "519" in said
    ids = run.ragged["sample_ids"]
    assert any(str(int(sample)) in said.replace(",", " ").split() for sample in ids[500]), (
        "names samples of the first bad batch"
    )


def test_a_shuffle_that_was_switched_on_is_seen_to_work(demo_diagnoses: Mapping[str, Diagnosis]):
    finding = next(f for f in demo_diagnoses["shuffle_off_then_on"].findings if f.cause == "repeated_order")
    assert set(finding.boundaries) == {0, 1, 2, 3, 4}, "from epoch 6 on the order is new each time"
    assert not finding.explains_jump
