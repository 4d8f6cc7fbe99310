"""Leaves out advice that cannot help: lines of code that are there already, beside why they give nothing here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tb_losslens.analysis.context import Outcome
from tb_losslens.analysis.finding import Checked, Finding
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

_WRAP, _WATCH = how_to_record("sample_ids"), how_to_record("input_mean")
_CRITERION = how_to_record("loss_identity")


def lines_there(run: Run, lacking: Sequence[str] = ()) -> dict[str, str]:
    """The recording lines that this training has, each with why a signal of it, the columns `lacking`, may still be missing.

    A loader that was wrapped has told what it is; a model and an optimiser that are watched have told theirs, and so has a
    criterion that is a module: of a function there is its name, and its calls are not seen.
    """
    loader = run.facts.get("loader")
    out = {}
    if isinstance(loader, Mapping) and loader:
        out[_WRAP] = str(loader.get("ids") or "the loader is wrapped already")
    if run.facts.get("model") and run.facts.get("optimizer"):
        out[_WATCH] = f"the model is watched already, {_gives_none(run, lacking)}"
    criterion = run.facts.get("criterion")
    if isinstance(criterion, Mapping) and "weighted" in criterion:
        out[_CRITERION] = "the criterion is watched already, and what it was given does not tell"
    return out


def _gives_none(run: Run, lacking: Sequence[str]) -> str:
    """Why a watched model gives nothing for some columns, by default those of its inputs."""
    if any(name.startswith("grad") for name in lacking):
        return "and its gradients could not be followed from one step to the next"
    if not run.has("train_mode"):
        return "and no call of it was seen in a batch: calls of its parts do not tell"
    return "and gives none: inputs of integers have no mean"


def helpful(run: Run, outcome: Outcome, requires: Sequence[str] = ()) -> Outcome:
    """The outcome without the lines that the training has; one that was skipped for them says why they give nothing.

    `requires`: the columns that its cause cannot do without.
    """
    there = lines_there(run, [name for name in requires if not run.has(name)])
    if not there or isinstance(outcome, Checked):
        return outcome
    if isinstance(outcome, Finding):
        return replace(outcome, missing=tuple(line for line in outcome.missing if line not in there))
    lines = [line for line in outcome.how.split("; ") if line]
    left = [line for line in lines if line not in there]
    if len(left) == len(lines):
        return outcome
    reasons = [there[line] for line in lines if line in there]
    return replace(outcome, why=f"{outcome.why}: {'; '.join(dict.fromkeys(reasons))}", how="; ".join(left))
