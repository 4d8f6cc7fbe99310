"""Labels, class mix and sources that change at an epoch, for good or once, and what only looks like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tb_losslens.analysis.causes import target_shift
from tb_losslens.analysis.engine import diagnose
from tb_losslens.record import cadence
from tb_losslens.record.signals import fingerprints
from tb_losslens.store.run import Epoch, Run
from tests.analysis import recorded_targets
from tests.analysis.contexts import checked, findings, outcomes
from tests.toys import dataset
from tests.trainings import train

record = partial(recorded_targets.record, batch_size=64, lr=4e-3)
"""22 batches an epoch: it takes half the time of 44, and every sample is drawn as often."""


@pytest.fixture(autouse=True)
def every_batch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it depends on the load of the machine of which batches and passes the targets are read."""
    monkeypatch.setattr(fingerprints, "MOST_LEFT_OUT", 0)
    monkeypatch.setattr(cadence, "GRANT", 1e9)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1e9)


def next_class(y: Tensor) -> Tensor:
    return (y + 1) % 10


def without(run: Run, *names: str) -> Run:
    """The recording without these fields of its epochs."""
    kept = tuple(replace(e, fields={k: v for k, v in e.fields.items() if k not in names}) for e in run.events)
    return replace(run, events=kept)


@pytest.mark.parametrize(("drop_last", "seed"), [(False, 0), (True, 1)])
def test_another_class_map_from_an_epoch_on(tmp_path: Path, drop_last: bool, seed: int) -> None:
    run = record(tmp_path, seed=seed, drop_last=drop_last, change=lambda _, y, e: next_class(y) if e >= 5 else y)
    diagnosis = diagnose(run)
    finding = diagnosis.findings[0]
    assert (finding.cause, finding.kind, finding.strength, finding.detail) == ("target_shift", "fault", "proved", "lasting")
    assert (finding.boundaries, finding.explains_jump) == ((4,), True)
    assert finding.steps == (run.epochs[5].first,)
    assert "then" in finding.evidence[0]
    assert [f.cause for f in diagnosis.findings if f.kind == "fault"] == ["target_shift"]
    namespace: dict[str, Any] = {"train_set": {i: (None, y) for i, y in enumerate(_labels())}}
    exec(finding.fix, namespace)  # the labels of before are those that it asks for


def _labels() -> list[int]:
    return [int(label) for label in dataset("digits", 1600)[1]]


def test_the_healthy_twin(tmp_path: Path) -> None:
    text = checked(target_shift, record(tmp_path))
    assert "of 12,600 samples that came back had another target" in text


@pytest.mark.parametrize("where", ["map", "number", "random"])
def test_other_targets_in_one_epoch(tmp_path: Path, where: str) -> None:
    change = {
        "map": lambda _, y, e: next_class(y) if e == 5 else y,
        "number": lambda _, y, e: y + 1 if e == 5 else y,
        "random": lambda i, y, e: torch.tensor(i * 7 % 10) if e == 5 else y,
    }[where]
    run = record(tmp_path, data="regression" if where == "number" else "digits", change=change)
    (finding,) = findings(target_shift, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "one_epoch")
    assert (finding.boundaries, finding.explains_jump) == ((4, 5), True)


def test_a_twentieth_of_the_labels_is_proved_though_no_loss_shows_it(tmp_path: Path) -> None:
    run = record(tmp_path, change=lambda i, y, e: next_class(y) if e >= 5 and i % 20 == 0 else y)
    (finding,) = findings(target_shift, run)
    assert (finding.strength, finding.boundaries, finding.explains_jump) == ("proved", (4,), False)
    assert "70 of 1,400 samples" in finding.evidence[0]
    assert finding.against


def test_a_note_makes_it_planned(tmp_path: Path) -> None:
    run = record(tmp_path, change=lambda _, y, e: next_class(y) if e >= 5 else y, noted=5)
    (finding,) = findings(target_shift, run)
    assert finding.kind == "planned"
    assert any("other labels" in line for line in finding.evidence)


def test_targets_that_are_drawn_anew_in_each_epoch_prove_nothing(tmp_path: Path) -> None:
    text = checked(target_shift, record(tmp_path, change=lambda *_: torch.randint(0, 10, ())))
    assert text.startswith("90")


def test_labels_that_the_loop_changes_are_proved_by_the_counts_of_the_same_samples(tmp_path: Path) -> None:
    run = record(tmp_path / "good", in_loop=lambda y, e: y.clamp(max=7) if e >= 5 else y)
    (finding,) = findings(target_shift, run)
    assert (finding.strength, finding.detail, finding.boundaries) == ("proved", "lasting", (4,))
    assert "drew the same sample ids, but counted" in finding.evidence[0]
    (likely,) = findings(target_shift, without(run, "set_hash"))
    assert (likely.strength, likely.boundaries) == ("likely", (4,))
    once = record(tmp_path / "once", in_loop=lambda y, e: y.clamp(max=7) if e == 5 else y)
    assert [(f.detail, f.boundaries) for f in findings(target_shift, once)] == [("one_epoch", (4, 5))]
    assert [(f.detail, f.strength) for f in findings(target_shift, without(once, "set_hash"))] == [("one_epoch", "likely")]


@pytest.mark.parametrize("epochs", [3, 4, 6, 8])
def test_two_sets_of_targets_in_turn_are_no_shift(tmp_path: Path, epochs: int) -> None:
    run = record(tmp_path, epochs=epochs, in_loop=lambda y, e: y.clamp(max=7) if e % 2 else y)
    assert not findings(target_shift, run)


def test_classes_that_come_only_later(tmp_path: Path) -> None:
    """The inputs of other classes are others: one cause, not two."""
    run = record(tmp_path, weights=lambda y, e: y < (3 if e < 5 else 10))
    faults = [f for f in diagnose(run).findings if f.kind == "fault"]
    assert [(f.cause, f.strength, f.detail, f.boundaries) for f in faults] == [("target_shift", "likely", "lasting", (4,))]
    assert faults[0].explains_jump
    assert "Counter" in faults[0].fix
    assert "batch_size=64" in faults[0].fix


@pytest.mark.parametrize("seed", range(3))
def test_a_class_that_is_left_out(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path / "good", seed=seed, weights=lambda y, e: (y != 3) | (e < 5))
    assert [(f.detail, f.boundaries) for f in findings(target_shift, run)] == [("lasting", (4,))]
    once = record(tmp_path / "once", seed=seed, weights=lambda y, e: (y != 3) | (e != 5))
    assert [(f.detail, f.boundaries) for f in findings(target_shift, once)] == [("one_epoch", (4, 5))]


@pytest.mark.parametrize("seed", range(3))
def test_drawing_with_replacement_is_no_shift(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path, seed=seed, samples=500, batch_size=16, weights=lambda y, _: torch.ones(len(y)))
    assert "takes no other level" in checked(target_shift, run)


@pytest.mark.parametrize("seed", range(3))
def test_a_curriculum_in_small_steps_is_a_drift(tmp_path: Path, seed: int) -> None:
    """Its first steps are the largest."""
    run = record(tmp_path, seed=seed, weights=lambda y, e: torch.where(y < 3, 1.0, 0.1 * (e + 1)))
    assert not findings(target_shift, run)


def test_a_span_of_batches_of_one_class_is_no_shift() -> None:
    run = train(data="digits", epochs=10, change_targets=lambda y, step, _: y * 0 + 7 if 251 <= step < 270 else y)
    assert not findings(target_shift, without(run, "set_hash"))


def test_a_change_inside_an_epoch_is_left_alone() -> None:
    """Epochs have 46 batches."""
    run = train(data="digits", epochs=10, change_targets=lambda y, step, _: y.clamp(max=5) if step >= 299 else y)
    assert not findings(target_shift, without(run, "set_hash"))


def test_classes_in_the_order_of_the_file_are_no_shift() -> None:
    labels = dataset("gaussian", 1600)[1].numpy()
    run = train(data="gaussian", epochs=8, order=lambda _, n, rng: np.argsort(labels[:n] + rng.random(n), kind="stable"))
    assert not findings(target_shift, run)


@pytest.mark.parametrize(("factor", "offset", "found"), [(3.0, 0.0, True), (1.0, 2.0, True), (1.02, 0.01, False)])
def test_numbers_of_another_unit_without_sample_ids(factor: float, offset: float, found: bool) -> None:
    run = train(data="regression", lr=0.01, epochs=10, change_targets=lambda y, _, e: y * factor + offset if e >= 5 else y)
    shifts = findings(target_shift, run)
    assert [(f.strength, f.detail, f.boundaries) for f in shifts] == ([("likely", "lasting", (4,))] if found else [])


def test_targets_that_drift_as_returns_do() -> None:
    """They grow fast at first and slowly later."""
    run = train(data="regression", lr=0.01, epochs=12, change_targets=lambda y, _, e: y + 8 * (1 - 0.6**e))
    assert not findings(target_shift, run)


def test_another_source_is_harmless_unless_the_loss_shows_it(tmp_path: Path) -> None:
    run = record(tmp_path / "quiet", source=lambda _, e: "a" if e < 5 else "b")
    (finding,) = findings(target_shift, run)
    assert (finding.kind, finding.boundaries) == ("benign", (4,))
    mixed = record(tmp_path / "mixed", source=lambda i, _: "ab"[i % 2])
    assert "data source" in checked(target_shift, mixed)
    loud = record(
        tmp_path / "loud", source=lambda _, e: "a" if e < 5 else "b", in_loop=lambda y, e: next_class(y) if e >= 5 else y
    )
    assert [f.kind for f in findings(target_shift, without(loud, "set_hash"))] == ["fault"]


def test_labels_that_are_renewed_again_and_again_are_none(tmp_path: Path) -> None:
    run = record(tmp_path, epochs=13, change=lambda i, y, e: torch.tensor((int(y) + i * (e // 3)) % 10))
    assert not findings(target_shift, run)


def test_nothing_recorded_is_skipped() -> None:
    run = Run.from_arrays(loss=[1.0] * 40, epoch_length=10)
    (said,) = outcomes(target_shift, run)
    assert "not recorded" in said.why  # type: ignore[union-attr]


# --- equalities alone ---------------------------------------------------------------------------------------------------


def epochs_of(*changed: int, compared: int = 100, told: Mapping[int, list[list[int]]] | None = None) -> list[Epoch]:
    """Epochs of ten batches; the first compares nothing."""
    out = [Epoch(0, 0, 10, {})]
    for k, count in enumerate(changed, start=1):
        fields = {"targets_compared": compared, "targets_changed": count, "target_changes": (told or {}).get(k, [])}
        out.append(Epoch(k, 10 * k, 10 * k + 10, fields))
    return out


@pytest.mark.parametrize(
    ("changed", "between", "detail"),
    [
        ((0, 0, 90, 0, 0), (2,), "lasting"),
        ((0, 0, 90, 90, 0), (2,), "one_epoch"),
        ((0, 0, 90, 45, 20, 8, 0), (2,), "lasting"),  # one process of several meets the others later
        ((0, 0, 90, 88, 91, 90), (2,), "lasting"),  # drawn anew from then on
        ((90, 0, 0, 0), (0,), "lasting"),
        ((90, 90, 91, 0, 0), (2,), "lasting"),  # drawn anew until then
        ((0, 0, 0, 90), (3,), "lasting"),
        ((90, 89, 91, 90), None, ""),  # always drawn anew
        ((0, 1, 0, 1, 0), None, ""),
        ((1, 2, 2, 1), None, ""),
        ((0, 0, 0), None, ""),
    ],
)
def test_what_came_back_different(changed: tuple[int, ...], between: tuple[int, ...] | None, detail: str) -> None:
    found = target_shift.target_proofs(Run("none"), epochs_of(*changed))
    assert [(proof.between, proof.detail) for proof in found] == ([] if between is None else [(between, detail)])


def test_the_labels_tell_a_second_change_from_the_way_back() -> None:
    forth = [[i, i % 10, (i + 1) % 10] for i in range(16)]
    back = [[i, (i + 1) % 10, i % 10] for i in range(16, 32)]
    further = [[i, (i + 1) % 10, (i + 2) % 10] for i in range(16, 32)]
    undone = target_shift.target_proofs(Run("none"), epochs_of(0, 90, 90, 0, told={2: forth, 3: back}))
    assert [proof.detail for proof in undone] == ["one_epoch"]
    other = target_shift.target_proofs(Run("none"), epochs_of(0, 90, 90, 0, told={2: forth, 3: further}))
    assert [proof.detail for proof in other] == ["lasting"]


def test_where_other_samples_are_compared_in_each_pass_parts_and_not_counts_are_alike() -> None:
    epochs = epochs_of(0, 120, 48, 0, compared=200)
    fields = [{**epoch.fields, **({"targets_compared": 80} if k == 3 else {})} for k, epoch in enumerate(epochs)]
    whole = [Epoch(e.epoch, e.first, e.last, f) for e, f in zip(epochs, fields, strict=True)]
    part = [Epoch(e.epoch, e.first, e.last, {**f, "fingerprinted_batches": 4}) for e, f in zip(epochs, fields, strict=True)]
    assert [proof.detail for proof in target_shift.target_proofs(Run("none"), part)] == ["one_epoch"]
    assert [proof.detail for proof in target_shift.target_proofs(Run("none"), whole)] == ["lasting"]
    part[3].fields["targets_changed"] = 15  # of 80: another part
    assert [proof.detail for proof in target_shift.target_proofs(Run("none"), part)] == ["lasting"]
