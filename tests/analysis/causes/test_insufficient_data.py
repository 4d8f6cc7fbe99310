"""Trainings with too few samples, and those with enough, or with a held-out loss that stays above for another reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tb_losslens.analysis.causes import insufficient_data, overfitting
from tb_losslens.analysis.engine import build_context, decide, diagnose
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.store.run import Run
from tests.analysis.causes.test_overfitting import record
from tests.analysis.contexts import checked, findings, skipped
from tests.trainings import train

pytestmark = pytest.mark.usefixtures("hardly_read")


def few(directory: Path, *, seed: int = 0, epochs: int = 40) -> Run:
    """150 samples for 20,000 weights."""
    return record(directory, samples=150, epochs=epochs, seed=seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_too_few_samples(tmp_path: Path, seed: int) -> None:
    run = few(tmp_path, seed=seed)
    (finding,) = findings(insufficient_data, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("fault", "likely", False)
    said = " ".join(finding.evidence)
    assert "each of 150 samples was seen 40 times" in said
    assert "19,845 trained weights" in said
    assert "(75, 150)" in finding.fix


def test_it_comes_before_the_rise_that_it_makes(tmp_path: Path) -> None:
    names = [f.cause for f in diagnose(few(tmp_path)).findings]
    assert names.index("insufficient_data") < names.index("overfitting")


def test_the_two_losses_are_given_by_exposures(tmp_path: Path) -> None:
    run = few(tmp_path)
    (finding,) = findings(insufficient_data, run)
    curve = next(text for text in finding.evidence if "after 1 pass " in text)
    assert f"2 passes {run.loss[5:10].mean():.3g} and {run.validations[1].value:.3g}," in curve


@pytest.mark.parametrize("seed", [0, 1])
def test_forty_times_as_many_are_the_healthy_twin(tmp_path: Path, seed: int) -> None:
    """The same model, rate and labels for about as many steps."""
    assert findings(insufficient_data, record(tmp_path, samples=6000, epochs=3, seed=seed)) == []


def test_where_it_learns_what_holds_for_others_it_only_overfits(tmp_path: Path) -> None:
    run = record(tmp_path, samples=400, epochs=40)
    assert findings(overfitting, run)
    assert "holds for others" in checked(insufficient_data, run)


def test_labels_without_a_signal_are_another_matter(tmp_path: Path) -> None:
    run = record(tmp_path, samples=150, epochs=40, signal=0.0)
    assert run.loss[-20:].mean() < 0.05 * run.loss[0]
    assert "nothing shows" in checked(insufficient_data, run)


def test_a_training_that_stops_in_time_is_not_accused(tmp_path: Path) -> None:
    assert "was seen 6 times" in checked(insufficient_data, few(tmp_path, epochs=6))
    assert "training loss ends at" in checked(insufficient_data, few(tmp_path / "longer", epochs=9))


def test_another_held_out_set_is_no_lack_of_samples(tmp_path: Path) -> None:
    run = record(tmp_path, samples=150, epochs=40, change=lambda epoch, x: x + max(0.0, 0.1 * (epoch - 3)))
    assert "other inputs" in checked(insufficient_data, run)


def test_after_a_fault_it_is_possible_only(tmp_path: Path) -> None:
    fault = Finding("target_shift", "fault", "proved", "", "", steps=(3,), evidence=(Evidence("seen"),))
    (finding,) = decide(insufficient_data, replace(build_context(few(tmp_path)), earlier=(fault,)))
    assert isinstance(finding, Finding)
    assert finding.strength == "possible"
    assert any("target_shift" in text for text in finding.against)


@pytest.mark.parametrize("data", ["digits", "gaussian", "regression", "plane"])
def test_many_passes_alone_are_no_fault(data: str) -> None:
    run = train(data=data, epochs=20, samples=800, lr=0.02 if data in ("regression", "plane") else 0.1)
    assert findings(insufficient_data, run) == []


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    run = few(tmp_path)
    assert "split" in skipped(insufficient_data, replace(run, events=())).how
    bare = replace(run, ragged={}, facts={})
    assert "wrap(train_loader)" in skipped(insufficient_data, bare).how
