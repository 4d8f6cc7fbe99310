"""Runs side by side: in which settings they differ, and what changes with the one that was swept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tb_losslens.analysis.stats import Floats, noise
from tb_losslens.analysis.text import number, plural, sentences, some
from tb_losslens.store.downsample import bucket_starts, bucket_stats
from tb_losslens.store.run import Run

Value = str | int | float | bool | None

_TAKEN = ("config", "loader", "optimizer", "scheduler", "criterion", "model")
"""Facts that are settings, in the order in which their differences are told."""

_LEFT_OUT = frozenset({"loader.data", "loader.batches", "optimizer.with_state", "optimizer.groups", "scheduler.base_lrs"})
_MOST_TEXT = 60
_POINTS = 60


@dataclass(frozen=True)
class Summary:
    """One run in a few numbers.

    Attributes:
        settings: flat, `config.batch_size` and the like; what is not a number or a word is written out and cut.
        share: shape (p,), where in the run each point of `loss` begins, 0..1.
        loss: shape (p,), mean loss; NaN where none is finite.
        last: mean loss of the last whole epoch, of the last tenth without epochs.
        noise: standard deviation from batch to batch there.
    """

    settings: Mapping[str, Value]
    share: Floats = field(default_factory=lambda: np.empty(0))
    loss: Floats = field(default_factory=lambda: np.empty(0))
    last: float = math.nan
    noise: float = math.nan


def summary(run: Run) -> Summary:
    """What is compared of a run."""
    n = len(run)
    starts = bucket_starts(0, n, _POINTS)
    first, last = _last_epoch(run)
    part = run.loss[first:last]
    part = part[np.isfinite(part)]
    level = float(part.mean()) if len(part) else math.nan
    spread = float(noise(part)) if len(part) > 2 else math.nan
    return Summary(settings(run.facts), starts / max(1, n), bucket_stats(run.loss, starts, n).mean, level, spread)


def settings(facts: Mapping[str, Any]) -> dict[str, Value]:
    """The settings among the facts of a run, flat, in order."""
    out: dict[str, Value] = {}
    for name in _TAKEN:
        _flatten(name, facts.get(name), out)
    return {name: value for name, value in out.items() if name not in _LEFT_OUT}


def differing(all_settings: Sequence[Mapping[str, Value]], *, most: int = 12) -> list[str]:
    """Names of at most `most` settings that are not the same in all runs, in the order of the runs' own settings.

    A setting that says the same as another one (the loader's batch size beside that of the config) is left out.
    """
    names = dict.fromkeys(name for each in all_settings for name in each if not _told_by_another(name, all_settings))
    order = sorted(names, key=lambda name: _TAKEN.index(name.partition(".")[0]))
    seen: set[tuple[str, ...]] = set()
    out = []
    for name in order:
        values = tuple(repr(each.get(name)) for each in all_settings)
        if len(set(values)) > 1 and values not in seen:
            seen.add(values)
            out.append(name)
    return out[:most]


def swept(all_settings: Sequence[Mapping[str, Value]], names: Sequence[str], *, least: int = 3) -> str | None:
    """The setting that was swept: a number with `least` values, where no other number differs that is not a consequence of it.

    Of several numbers there is none, unless only one of them takes as many values as there are runs.
    """
    found = {
        name: values for name in names if (values := _numbers(all_settings, name)) is not None and len(set(values)) >= least
    }
    if len(found) == 1:
        return next(iter(found))
    each_its_own = [name for name, values in found.items() if len(set(values)) == len(values)]
    return each_its_own[0] if len(each_its_own) == 1 else None


def said(
    kinds: Sequence[str], names: Sequence[str], sweep: str | None, values: Sequence[float], summaries: Sequence[Summary]
) -> str:
    """What a reader sees: how many runs have a fault, in what they differ, and what changes along a sweep."""
    faults = sum(kind == "fault" for kind in kinds)
    waiting = sum(kind == "pending" for kind in kinds)
    parts = [
        f"{plural(len(kinds), 'run')}, {faults or 'none'} with a fault" + (f", {waiting} not diagnosed yet" if waiting else "")
    ]
    if len(kinds) > 1:
        parts.append(f"They differ in {some(map(short, names), 4)}" if names else "No recorded setting differs")
    if sweep is not None:
        order = np.argsort(values, kind="stable")
        a, b = summaries[order[0]], summaries[order[-1]]
        ends = f"{short(sweep)} {number(values[order[0]])} to {number(values[order[-1]])}"
        parts.append(f"From {ends} the loss of the last epoch {_goes(a.last, b.last)}, its noise {_goes(a.noise, b.noise)}")
    return sentences(parts)


def _goes(first: float, last: float) -> str:
    a, b = number(first, 2), number(last, 2)
    return f"stays at {a}" if a == b else f"goes from {a} to {b}"


def short(name: str) -> str:
    """A setting as a reader calls it: without the fact that it stands in, where that is the user's own."""
    return name.removeprefix("config.").removeprefix("optimizer.defaults.")


def _told_by_another(name: str, all_settings: Sequence[Mapping[str, Value]]) -> bool:
    """True if a setting of the same last name agrees wherever this one is known, and is known of more runs or comes first."""

    def rank(setting: str, runs: int) -> tuple[int, int]:
        return runs, -_TAKEN.index(setting.partition(".")[0])

    last = name.rpartition(".")[2]
    mine = [at for at, each in enumerate(all_settings) if name in each]
    for other in dict.fromkeys(key for each in all_settings for key in each if key != name and key.rpartition(".")[2] == last):
        theirs = {at for at, each in enumerate(all_settings) if other in each}
        agrees = theirs.issuperset(mine) and all(all_settings[at][name] == all_settings[at][other] for at in mine)
        if agrees and rank(other, len(theirs)) > rank(name, len(mine)):
            return True
    return False


def _numbers(all_settings: Sequence[Mapping[str, Value]], name: str) -> list[float] | None:
    values = [each.get(name) for each in all_settings]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) for value in values):
        return None
    return [float(value) for value in values if value is not None]


def _flatten(name: str, value: Any, out: dict[str, Value]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, out)
    elif value is None or isinstance(value, (bool, int, float)):
        if name not in _TAKEN:
            out[name] = value
    elif name not in _TAKEN:
        text = str(value)
        out[name] = text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def _last_epoch(run: Run) -> tuple[int, int]:
    n = len(run)
    epochs = run.epochs
    if not epochs:
        return n - max(1, n // 10) if n else 0, n
    longest = max(len(epoch) for epoch in epochs)
    whole = [epoch for epoch in epochs if len(epoch) >= 0.9 * longest]
    return whole[-1].first, whole[-1].last
