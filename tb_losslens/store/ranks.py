"""Joins what the processes of a distributed training recorded, each for itself, into one run.

The rows are those of the first process. Another one's rows belong to them by their step; where it has none, as it died or
began later, the others are taken alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.store.lists import Lists
from tb_losslens.store.run import Ragged, Run, RunEvent

NORMS = ("grad_norm", "grad_norm_at_step", "weight_norm", "moment1_norm", "moment2_norm")
"""Of a sharded model each process has the norm of its part: the whole is the root of the sum of their squares."""

ADDED = ("batch_size", "class_rest", "input_nonfinite")
JOINED = ("sample_ids", "per_sample")
"""Lists of a batch: those of the processes one after the other."""

_RANK = re.compile(r"rank(\d+)")


def rank_of(directory: PurePath) -> int:
    """The number of the process that wrote `rank<r>`; 0 for any other name."""
    found = _RANK.fullmatch(directory.name)
    return int(found[1]) if found is not None else 0


def merge(run: Run, others: Mapping[int, Run]) -> Run:
    """The run of all processes.

    The loss is the mean over the processes, which is what their averaged gradients minimise. Batch sizes, class counts and
    numbers of bad values add up, sample ids and per-sample losses stand one after the other. Norms are put together where
    the model is sharded (fact `model.shards`); elsewhere every process has the same. The order of an epoch is that of all
    processes, and its set of samples that of all together. Every other signal is that of the first process.

    Args:
        run: of the first process.
        others: of the others, by their number.
    """
    known = {rank: other for rank, other in sorted(others.items()) if len(other)}
    if not known or not len(run):
        return run
    rows = {rank: _rows(run.step, other.step) for rank, other in known.items()}
    problems = list(run.problems)
    for rank in [rank for rank, found in rows.items() if found is None]:
        problems.append(f"The steps of process {rank} go back, so its batches could not be matched and are left out.")
        del known[rank], rows[rank]
    matched = {rank: found for rank, found in rows.items() if found is not None}
    for rank, other in known.items():
        problems += [f"Process {rank}: {problem}" for problem in other.problems]
    sharded = int(dict(run.facts.get("model") or {}).get("shards") or 1) > 1
    return replace(
        run,
        columns=_columns(run, known, matched, sharded=sharded),
        ragged=_lists(run, known, matched),
        events=_events(run, known),
        facts={**run.facts, "processes": 1 + len(others)},
        problems=tuple(problems),
        live=run.live or any(other.live for other in known.values()),
    )


def _rows(steps: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """For each of `steps` the row of another process with that step, -1 where it has none; None where its steps go back."""
    if (np.diff(other) <= 0).any() or (np.diff(steps) <= 0).any():
        return None
    at = np.searchsorted(other, steps)
    return np.where(np.take(other, at, mode="clip") == steps, np.minimum(at, len(other) - 1), -1).astype(np.int64)


def _columns(
    run: Run, known: Mapping[int, Run], rows: Mapping[int, NDArray[np.int64]], *, sharded: bool
) -> dict[str, NDArray[Any]]:
    columns = dict(run.columns)
    if "loss" in columns:
        values, there = _table(run, known, rows, "loss")
        # a loss that is not finite stays so; a process without the row does not count
        columns["loss"] = np.where(there, values, 0).sum(axis=0) / there.sum(axis=0)
    for name in ADDED:
        if name in columns:
            values, there = _table(run, known, rows, name)
            total = np.where(there, values, 0).sum(axis=0)
            columns[name] = np.where(np.isnan(total), -1, total).astype(np.int64)
    for name in NORMS if sharded else ():
        if name in columns:
            values, there = _table(run, known, rows, name)
            columns[name] = np.where(there.all(axis=0), np.sqrt((values**2).sum(axis=0)), np.nan)
    return columns


def _table(
    run: Run, known: Mapping[int, Run], rows: Mapping[int, NDArray[np.int64]], name: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Signal `name` of every process, and whether it recorded the row at all: shape (processes, rows)."""
    values, there = [run.float(name)], [np.ones(len(run), bool)]
    for rank, other in known.items():
        found = rows[rank]
        has = (found >= 0) & (name in other.columns)
        values.append(np.where(has, other.float(name)[found], np.nan))
        there.append(has)
    return np.stack(values), np.stack(there)


def _lists(run: Run, known: Mapping[int, Run], rows: Mapping[int, NDArray[np.int64]]) -> Mapping[str, Ragged]:
    """The lists of `run` with those of the other processes; what loads when it is asked for still does."""
    together = partial(_together, run, known, rows)
    small = [name for name in run.ragged if name not in JOINED]
    eager = {name: together(name) if name == "classes" else run.ragged[name] for name in small}
    large = frozenset(name for name in run.ragged if name in JOINED)
    return Lists(eager, large, lambda: {name: together(name) for name in sorted(large)})


def _together(run: Run, known: Mapping[int, Run], rows: Mapping[int, NDArray[np.int64]], name: str) -> Ragged:
    parts = [(run.ragged[name], np.arange(len(run)))]
    parts += [(other.ragged[name], rows[rank]) for rank, other in known.items() if name in other.ragged]
    lists = [
        np.concatenate([values for part, at in parts if at[row] >= 0 and len(values := part[int(at[row])])] or [np.empty(0)])
        for row in range(len(run))
    ]
    if name == "classes":
        lists = [_added(pairs) for pairs in lists]
    return Ragged.from_lists(lists)


def _added(pairs: NDArray[Any]) -> NDArray[Any]:
    """Pairs (class, count) with each class once, the largest count first."""
    if not len(pairs):
        return pairs
    names, where = np.unique(pairs[:, 0], return_inverse=True)
    counts = np.bincount(where.ravel(), weights=pairs[:, 1]).astype(np.int64)
    order = np.argsort(-counts, kind="stable")
    return np.stack([names[order], counts[order]], axis=1)


def _events(run: Run, known: Mapping[int, Run]) -> tuple[RunEvent, ...]:
    ends = [
        {(e.step, e.fields.get("epoch")): e.fields for e in other.events if e.kind == "epoch_end"} for other in known.values()
    ]
    return tuple(_order(event, ends) for event in run.events)


def _order(event: RunEvent, ends: Sequence[Mapping[Any, Mapping[str, Any]]]) -> RunEvent:
    """The end of an epoch with the order and the samples of all processes; `ends` are those of the others.

    Where one of them does not say, the order is that of the first and the set of samples, which is a part of the whole and
    another one in each epoch, is unknown.
    """
    if event.kind != "epoch_end" or event.fields.get("set_hash") is None:
        return event
    key = (event.step, event.fields.get("epoch"))
    all_of_them = [event.fields, *(fields[key] for fields in ends if key in fields)]
    fields = dict(event.fields)
    if len(all_of_them) <= len(ends) or any(part.get("set_hash") is None for part in all_of_them):
        fields["set_hash"] = None
    else:
        fields["order_hash"] = hashlib.blake2b("".join(_texts(all_of_them)).encode(), digest_size=8).hexdigest()
        fields["set_hash"] = f"{sum(int(part['set_hash'], 16) for part in all_of_them) % 2**64:016x}"
        fields["order_hashes"] = _texts(all_of_them)
    return replace(event, fields=fields)


def _texts(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(part["order_hash"]) for part in parts]
