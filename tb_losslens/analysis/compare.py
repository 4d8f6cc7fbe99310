"""Runs side by side: in which settings they differ, and what changes with the one that was swept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tb_losslens.analysis.run_settings import TAKEN, Value, same, settings
from tb_losslens.analysis.stats import Floats, noise
from tb_losslens.analysis.text import number, plural, sentences, some
from tb_losslens.store.downsample import bucket_starts, bucket_stats
from tb_losslens.store.run import Run

_POINTS = 60
_Column = tuple[tuple[str, object] | None, ...]
"""What one setting is in each run; None where a run has none."""


@dataclass(frozen=True)
class Summary:
    """One run in a few numbers.

    Attributes:
        settings: flat, `config.batch_size` and the like; what is not a number or a word is written out.
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


def differing(all_settings: Sequence[Mapping[str, Value]], *, most: int = 12) -> list[str]:
    """Names of at most `most` settings that are not the same in all runs, in the order of the runs' own settings.

    A setting that says the same as another one (the loader's batch size beside that of the config) is left out.
    """
    names = dict.fromkeys(name for each in all_settings for name in each)
    groups: dict[str, dict[_Column, int]] = {}  # by last name: each column of values once, and in how many runs it is known
    first: dict[_Column, str] = {}
    for name in sorted(names, key=lambda name: TAKEN.index(name.partition(".")[0])):
        column = tuple(same(each[name]) if name in each else None for each in all_settings)
        first.setdefault(column, name)
        groups.setdefault(_last_name(name), {})[column] = sum(value is not None for value in column)
    found = (name for column, name in first.items() if _differs(column) and not _told(column, groups[_last_name(name)]))
    return list(itertools.islice(found, most))


def swept(all_settings: Sequence[Mapping[str, Value]], names: Sequence[str], *, least: int = 3) -> str | None:
    """The setting that was swept: a number with `least` values, where no other number differs; seeds are left out.

    Args:
        all_settings: of each run.
        names: all settings that differ.
        least: values that make a sweep.
    """
    found = [name for name in names if not _is_seed(name) and any(_is_number(each.get(name)) for each in all_settings)]
    if len(found) != 1:
        return None
    values = [each.get(found[0]) for each in all_settings]
    return found[0] if all(map(_is_number, values)) and len(set(values)) >= least else None


def said(
    kinds: Sequence[str],
    names: Sequence[str],
    sweep: str | None,
    values: Sequence[float],
    summaries: Sequence[Summary],
    *,
    broken: int = 0,
) -> str:
    """What a reader sees: how many runs have a fault, in what they differ, and what changes along a sweep.

    Args:
        kinds: of all runs.
        names: settings that differ.
        sweep: the one that was swept.
        values: of `sweep`, of each of
        summaries: the runs that could be read.
        broken: how many runs could not be read or diagnosed.
    """
    faults = sum(kind == "fault" for kind in kinds)
    counts = ((sum(kind == "pending" for kind in kinds), "not diagnosed yet"), (broken, "not readable"))
    rest = "".join(f", {count} {what}" for count, what in counts if count)
    parts = [f"{plural(len(kinds), 'run')}, {faults or 'none'} with a fault{rest}"]
    if len(summaries) > 1:
        parts.append(f"They differ in {some(map(short, names), 4)}" if names else "No recorded setting differs")
    if sweep is not None:
        parts.append(_along(sweep, values, summaries))
    return sentences(parts)


def _along(sweep: str, values: Sequence[float], summaries: Sequence[Summary]) -> str:
    """From one end of a sweep to the other; of several runs at an end their mean."""
    low, high = min(values), max(values)
    parts = []
    for what, each in (
        ("the loss of the last epoch", [one.last for one in summaries]),
        ("its noise", [one.noise for one in summaries]),
    ):
        ends = [float(np.mean([x for x, value in zip(each, values, strict=True) if value == end])) for end in (low, high)]
        if not all(map(math.isnan, ends)):
            parts.append(f"{what} {_goes(*ends)}")
    return f"From {short(sweep)} {number(low)} to {number(high)} {', '.join(parts)}" if parts else ""


def _goes(first: float, last: float) -> str:
    a, b = number(first, 2), number(last, 2)
    return f"stays at {a}" if a == b else f"goes from {a} to {b}"


def short(name: str) -> str:
    """A setting as a reader calls it: without the fact that it stands in, where that is the user's own."""
    return name.removeprefix("config.").removeprefix("optimizer.defaults.")


def _differs(column: _Column) -> bool:
    return len({same(None) if value is None else value for value in column}) > 1


def _told(column: _Column, group: Mapping[_Column, int]) -> bool:
    """True if a setting of the same last name is known of more runs and agrees wherever this one is known."""
    known = [at for at, value in enumerate(column) if value is not None]
    if len(known) == len(column):
        return False
    more = (other for other, count in group.items() if count > len(known))
    return any(all(other[at] == column[at] for at in known) for other in more)


def _last_name(name: str) -> str:
    return name.rpartition(".")[2]


def _is_seed(name: str) -> bool:
    last = _last_name(name).lower()
    return "seed" in last or last == "random_state"


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _last_epoch(run: Run) -> tuple[int, int]:
    n = len(run)
    epochs = run.epochs
    if not epochs:
        return n - max(1, n // 10) if n else 0, n
    longest = max(len(epoch) for epoch in epochs)
    whole = [epoch for epoch in epochs if len(epoch) >= 0.9 * longest]
    return whole[-1].first, whole[-1].last
