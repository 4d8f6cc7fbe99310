"""What every cause promises, whatever it decides: pure, deterministic, alive on anything, in the same form."""

from __future__ import annotations

import inspect
import json
import math
import re
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tb_losslens.analysis import causes
from tb_losslens.analysis.causes import CAUSES
from tb_losslens.analysis.context import Cause, Context, Outcome
from tb_losslens.analysis.engine import build_context, decide
from tb_losslens.analysis.finding import Checked, Finding, Skipped
from tb_losslens.events.columns import BY_NAME
from tb_losslens.store.run import Ragged, Run
from tests.analysis.series import healthy
from tests.trainings import train

HEADINGS = ("What it sees", "Why it matters", "How it decides", "What to try", "When it is wrong", "References")
EACH = pytest.mark.parametrize("cause", CAUSES, ids=[c.ID for c in CAUSES])


@cache
def trained() -> Run:
    return train(epochs=6, drop_last=False, per_sample=True)


def ask(cause: Cause, context: Context) -> list[Outcome]:
    """The cause's outcomes; any warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return decide(cause, context)


@cache
def context_of(name: str) -> Context:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return build_context(RUNS[name]())


def without(name: str) -> Run:
    run = trained()
    return replace(
        run,
        columns={k: v for k, v in run.columns.items() if k != name},
        ragged={k: v for k, v in run.ragged.items() if k != name},
    )


def with_loss(loss: Any) -> Run:
    run = trained()
    return replace(run, columns={**run.columns, "loss": np.broadcast_to(loss, len(run)).astype(np.float64)})


def with_all(value: float) -> Run:
    run = trained()
    kept = ("epoch", "index", "step", "time")
    columns = {k: v if k in kept else np.full(len(v), value) for k, v in run.columns.items()}
    return replace(run, columns=columns)


def first_rows(count: int) -> Run:
    run = trained()
    ragged = {k: Ragged(v.values[: v.offsets[count]], v.offsets[: count + 1]) for k, v in run.ragged.items()}
    events = tuple(e for e in run.events if e.batch <= count)
    return Run("cut", {k: v[:count] for k, v in run.columns.items()}, ragged, events, run.facts)


RUNS = {
    "empty": lambda: Run("empty"),
    "empty with columns": lambda: first_rows(0),
    "one step": lambda: first_rows(1),
    "two steps": lambda: first_rows(2),
    "half an epoch": lambda: first_rows(20),
    "an epoch and one step": lambda: first_rows(51),
    "constant loss": lambda: with_loss(1.0),
    "zero loss": lambda: with_loss(0.0),
    "negative loss": lambda: with_loss(-1 - np.arange(len(trained())) / 100),
    "nan loss": lambda: with_loss(np.nan),
    "infinite loss": lambda: with_loss(np.inf),
    "huge loss": lambda: with_loss(np.where(np.arange(len(trained())) % 7, 1e300, -1e300)),
    "nan from the middle": lambda: with_loss(np.where(np.arange(len(trained())) < 160, trained().loss, np.nan)),
    "some infinite": lambda: with_loss(np.where(np.arange(len(trained())) % 50 < 49, trained().loss, np.inf)),
    "all columns constant": lambda: with_all(1.0),
    "all columns zero": lambda: with_all(0.0),
    "all columns nan": lambda: with_all(math.nan),
    "all columns infinite": lambda: with_all(math.inf),
    "loss alone": lambda: healthy(np.random.default_rng(0)),
    "loss without epochs": lambda: Run.from_arrays(loss=np.random.default_rng(1).random(300)),
    "one batch an epoch": lambda: Run.from_arrays(loss=np.random.default_rng(2).random(40), epoch_length=1),
    "steps go back": lambda: Run.from_arrays(loss=np.ones(100), step=np.arange(100) % 10, epoch_length=10),
    "no events": lambda: replace(trained(), events=()),
    "empty fields": lambda: replace(trained(), events=tuple(replace(e, fields={}) for e in trained().events), facts={}),
    "null fields": lambda: replace(
        trained(), events=tuple(replace(e, fields=dict.fromkeys(e.fields)) for e in trained().events), facts={}
    ),
    "empty lists": lambda: replace(trained(), ragged={k: Ragged.from_lists([[]] * len(trained())) for k in trained().ragged}),
    "one epoch": lambda: first_rows(trained().epochs[0].last),
} | {f"without {name}": lambda name=name: without(name) for name in BY_NAME}


def test_the_registry_lists_every_file_once() -> None:
    files = {path.stem for path in Path(causes.__file__).parent.glob("*.py")} - {"__init__"}
    assert [c.ID for c in CAUSES] == [Path(inspect.getfile(c)).stem for c in CAUSES]  # type: ignore[arg-type]
    assert {c.ID for c in CAUSES} == files
    assert len(CAUSES) == len(files)


def test_the_logger_is_tested_first_and_unknown_last() -> None:
    names = [c.ID for c in CAUSES]
    assert names[:3] == ["log_overlap", "running_mean", "smoothed_metric"]
    assert names[-1] == "unknown"


@EACH
def test_the_module_says_the_same_things_in_the_same_order(cause: Any) -> None:
    found = re.findall(r"^([A-Z][a-zA-Z ]+):$", cause.__doc__, flags=re.MULTILINE)
    assert tuple(found) == HEADINGS


@EACH
def test_thresholds_are_keywords_with_defaults(cause: Any) -> None:
    context, *rest = inspect.signature(cause.find).parameters.values()
    assert context.name == "context"
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in rest)


@EACH
def test_it_requires_columns_that_are_recorded(cause: Any) -> None:
    assert set(cause.REQUIRES) <= set(BY_NAME)


@EACH
def test_it_survives_any_run_without_a_warning(cause: Any) -> None:
    """One test for all runs: 4,000 of a millisecond each would take longer to be counted than to be made."""
    wrong: dict[str, Exception] = {}
    for name in RUNS:
        try:
            survives(cause, context_of(name))
        except Exception as error:
            wrong[name] = error
    assert not wrong


def survives(cause: Any, context: Context) -> None:
    for outcome in ask(cause, context):
        assert isinstance(outcome, (Finding, Checked, Skipped))
        assert outcome.cause == cause.ID
        if isinstance(outcome, Skipped):
            assert not outcome.why.startswith("failed"), outcome.why
        if isinstance(outcome, Finding):
            json.dumps(outcome.to_dict(), allow_nan=False)
            assert 0 <= outcome.score <= 1
            assert outcome.share is None or 0 <= outcome.share <= 1
            assert outcome.evidence
            assert all(0 <= k < len(context.boundaries) for k in outcome.boundaries)
            words = " ".join([outcome.title, outcome.text, outcome.advice, *outcome.evidence, *outcome.against])
            assert not re.search(r"\b(nan|inf)\b", words), words


@EACH
def test_it_is_pure_and_deterministic(cause: Any) -> None:
    run = trained()
    columns = {name: column.copy() for name, column in run.columns.items()}
    values = {name: ragged.values.copy() for name, ragged in run.ragged.items()}
    assert ask(cause, build_context(run)) == ask(cause, build_context(run))
    assert all(np.array_equal(columns[name], run.columns[name], equal_nan=True) for name in columns)
    assert all(np.array_equal(values[name], run.ragged[name].values) for name in values)


@EACH
@pytest.mark.parametrize("factor", [0.001, 1000.0])
def test_scaling_the_loss_changes_no_decision(cause: Any, factor: float) -> None:
    scaled = with_loss(trained().loss * factor)
    per_sample = trained().ragged["per_sample"]
    ragged = {**scaled.ragged, "per_sample": Ragged(per_sample.values * np.float32(factor), per_sample.offsets)}
    plain = ask(cause, build_context(trained()))
    other = ask(cause, build_context(replace(scaled, ragged=ragged)))
    assert [type(o) for o in plain] == [type(o) for o in other]
    for a, b in zip(plain, other, strict=True):
        if isinstance(a, Finding) and isinstance(b, Finding):
            assert (a.kind, a.detail, a.strength, a.boundaries, a.explains_jump) == (
                b.kind, b.detail, b.strength, b.boundaries, b.explains_jump,
            )  # fmt: skip
