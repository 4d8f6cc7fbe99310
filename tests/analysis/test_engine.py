"""The order of decisions, and what the engine does when a cause cannot decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import CAUSES
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.finding import Checked, Finding, Skipped
from tb_losslens.store.run import Run
from tests.analysis.series import healthy, jumping
from tests.trainings import train


class Stub:
    """A cause that notes what it was given."""

    def __init__(self, name: str, answer: Any, requires: tuple[str, ...] = ()) -> None:
        self.ID = name
        self.REQUIRES = requires
        self.answer = answer
        self.seen: list[Context] = []

    def find(self, context: Context) -> Any:
        self.seen.append(context)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


RUN = healthy(np.random.default_rng(0))


def test_each_cause_sees_what_was_decided_before_it() -> None:
    first = Stub("first", Finding("first", "fault", "proved", "t", "t"))
    second = Stub("second", [Checked("second", "fine"), Skipped("second", "why", "how")])
    third = Stub("third", Checked("third", "fine"))
    diagnosis = diagnose(RUN, causes=(first, second, third))
    assert third.seen[0].found("first") is diagnosis.findings[0]
    assert [type(o).__name__ for o in third.seen[0].earlier] == ["Finding", "Checked", "Skipped"]
    assert [c.cause for c in diagnosis.checked] == ["second", "third"]


def test_a_missing_column_skips_with_the_line_of_code() -> None:
    cause = Stub("needy", Checked("needy", ""), ("lr", "mine"))
    diagnosis = diagnose(RUN, causes=(cause,))
    assert not cause.seen
    (skipped,) = diagnosis.skipped
    assert skipped.why == "needs LR and mine, which were not recorded"
    assert skipped.how == "writer.watch(model, optimizer, criterion=criterion); writer.log_batch(loss, mine=mine)"


def test_a_cause_that_fails_takes_nobody_along() -> None:
    diagnosis = diagnose(RUN, causes=(Stub("broken", ZeroDivisionError("by zero")), Stub("fine", Checked("fine", "ok"))))
    assert diagnosis.skipped[0].why == "failed on this run: ZeroDivisionError: by zero"
    assert diagnosis.checked[0].cause == "fine"


def running_mean(loss: np.ndarray, index: np.ndarray) -> np.ndarray:
    out, total = np.empty_like(loss), 0.0
    for row, (value, place) in enumerate(zip(loss, index, strict=True)):
        total = value if place == 0 else total + value
        out[row] = total / (place + 1)
    return out


def test_behind_a_running_mean_the_other_causes_see_the_loss_itself() -> None:
    options: dict[str, Any] = {"data": "gaussian", "optimizer": "adam", "lr": 1e-3, "epochs": 10}
    raw = train(**options)
    logged = train(logged=running_mean, **options)
    last = Stub("last", Checked("last", ""))
    diagnosis = diagnose(logged, causes=(*CAUSES, last))
    assert np.allclose(last.seen[0].run.loss, raw.loss, rtol=1e-6)
    assert diagnosis.findings[0].cause == "running_mean"
    assert diagnosis.kind == "artifact"
    assert {b.kind for b in diagnosis.boundaries if b.significant} == {"artifact"}
    # the boundaries remain those of the curve on the screen
    assert diagnosis.boundaries[0].after == pytest.approx(logged.loss[50:55].mean())
    assert not [f for f in diagnosis.findings if f.kind == "fault"]


def test_an_unexplained_jump_is_unknown_and_lists_what_to_record() -> None:
    diagnosis = diagnose(jumping(np.random.default_rng(1), 4.0))
    assert diagnosis.kind == "unknown"
    assert diagnosis.findings[0].cause == "unknown"
    assert "writer.watch(model, optimizer, criterion=criterion)" in diagnosis.findings[0].missing
    assert diagnosis.headline.startswith("Loss jumps up at ")
    assert {b.kind for b in diagnosis.boundaries} <= {"unknown", "none"}


def test_the_diagnosis_is_pure_and_serialises() -> None:
    run = train(epochs=6)
    before = {name: column.copy() for name, column in run.columns.items()}
    first, second = diagnose(run).to_dict(), diagnose(run).to_dict()
    assert first == second
    json.dumps(first, allow_nan=False)
    assert all(np.array_equal(before[name], run.columns[name], equal_nan=True) for name in before)


@pytest.mark.parametrize("length", [1, 2, 3, 9, 10, 24])
def test_small_runs_get_an_answer(length: int) -> None:
    for rows in (0, 1, 2, 5, 30, 100):
        run = Run.from_arrays(loss=np.random.default_rng(rows).random(rows), epoch_length=length)
        diagnosis = diagnose(run)
        assert diagnosis.verdict
        assert diagnosis.kind in ("benign", "unknown")
        assert not [s for s in diagnosis.skipped if s.why.startswith("failed")]


def test_a_run_that_has_only_begun_is_neither_damaged_nor_checked(tmp_path: Path) -> None:
    """The event file is empty until it is flushed; the tail beside it is whole."""
    with LossLensWriter(str(tmp_path)) as writer:
        writer.wrap([1, 2])
        (run,) = load_runs(tmp_path).values()
        begun = diagnose(run)
    assert begun.headline == "No batch has been recorded yet."
    assert (begun.problems, begun.checked, begun.kind) == ((), (), "unknown")
