"""What the user noted at a boundary is named first there, and decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tb_losslens import diagnose
from tb_losslens.analysis.noted import said_of
from tests.analysis.small_training import record


def _raise(kind: str, at: int = 3) -> Any:
    def before(writer: Any, optimizer: Any, epoch: int) -> None:
        if epoch == at:
            writer.note("lr changed by hand", kind=kind)
            optimizer.param_groups[0]["lr"] = 1.5

    return before


@pytest.mark.parametrize("kind", ["note", "config_change"])
def test_a_note_at_the_boundary_that_jumps_is_named_first(tmp_path: Path, kind: str) -> None:
    said = diagnose(record(tmp_path, before_epoch=_raise(kind)))
    assert "at boundary 3 of 5" in said.headline
    assert said.subline.startswith('Noted there: "lr changed by hand". ')
    best = said.findings[0]
    assert best.cause == "lr_increase"
    assert best.text.endswith('Noted at boundary 3: "lr changed by hand".')
    assert not any("lr changed by hand" in line for line in best.evidence)  # context, no proof


def test_a_note_alone_makes_no_finding_stronger(tmp_path: Path) -> None:
    noted = diagnose(record(tmp_path / "noted", before_epoch=_raise("note")))

    def silent(_writer: Any, optimizer: Any, epoch: int) -> None:
        if epoch == 3:
            optimizer.param_groups[0]["lr"] = 1.5

    plain = diagnose(record(tmp_path / "plain", before_epoch=silent))
    assert [(f.cause, f.kind, f.strength, f.score) for f in noted.findings] == [
        (f.cause, f.kind, f.strength, f.score) for f in plain.findings
    ]


def test_a_note_where_nothing_jumps_is_not_in_the_verdict(tmp_path: Path) -> None:
    def note(writer: Any, _optimizer: Any, epoch: int) -> None:
        if epoch == 3:
            writer.note("new augmentation")

    said = diagnose(record(tmp_path, before_epoch=note))
    assert "new augmentation" not in said.verdict


def test_a_note_elsewhere_is_not_that_of_this_boundary(tmp_path: Path) -> None:
    def before(writer: Any, optimizer: Any, epoch: int) -> None:
        if epoch == 1:
            writer.note("something else")
        if epoch == 3:
            optimizer.param_groups[0]["lr"] = 1.5

    assert "something else" not in diagnose(record(tmp_path, before_epoch=before)).verdict


def test_which_notes_speak_for_which_boundaries() -> None:
    assert said_of({3: '"a"'}, [3]) == 'Noted there: "a".'
    assert said_of({3: '"a"', 5: '"b"'}, [3, 5]) == 'Noted at boundaries 4 and 6: "a" and "b".'
    assert said_of({3: '"a"'}, [3, 4, 5]) == ""  # one of many that all move alike
    assert said_of({}, [3]) == said_of({3: '"a"'}, []) == ""
    assert said_of(dict.fromkeys(range(9), '"x"') | {0: '"y"', 1: '"z"'}, list(range(9))).startswith("Notes were left at 9")
