"""What each route answers, as data: no HTTP here, only runs in and dictionaries out. See http_api.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from tensorboard import errors

from tb_losslens.analysis.compare import summary
from tb_losslens.analysis.finding import Boundary, Diagnosis
from tb_losslens.errors import LossLensError
from tb_losslens.plugin import batches, compared, folded, layers, start, timeline
from tb_losslens.plugin.cache import RunCache
from tb_losslens.plugin.entry import Judged, Overview
from tb_losslens.plugin.params import shown
from tb_losslens.plugin.scalars import Scalars, rows_of
from tb_losslens.plugin.wire import numbers, shortened
from tb_losslens.store.downsample import strongest
from tb_losslens.store.label import run_label
from tb_losslens.store.run import Run

MAX_POINTS = 4000
MAX_PLACES = 1000
"""Boundaries and steps that one finding names at most."""
MANY_BOUNDARIES = 500
"""Above this their numbers are sent with six digits: 4,000 of them in full would take 384 KB even when gzipped."""
MAX_LENS_VALUES = 12_000
"""Values of all signals of a lens together: a user may log hundreds of columns, and a response stays under 250 KB."""

PLAIN = "Only the scalars that TensorBoard kept: record this training with LossLens to see every batch."


def runs_impl(cache: RunCache, scalars: Scalars, logdir: str = "") -> dict[str, Any]:
    """All runs, recorded ones with their last known verdict; never waits."""
    recorded = cache.overview()
    rows = [_row(name, seen) for name, seen in recorded.items()]
    paths = {PurePosixPath(run) for run in recorded}  # with --logdir_spec TensorBoard calls a run "name/."
    rows += [_plain_row(name) for name in scalars.tags() if name not in recorded and not _lies_below(name, paths)]
    rows = [{**row, "label": run_label(row["run"], logdir)} for row in rows]
    code = start.code(logdir, {row["run"] for row in rows})
    return {"runs": sorted(rows, key=lambda row: str(row["run"])), "hint": "" if recorded else start.hint(code), "code": code}


def diagnosis_impl(cache: RunCache, run: str) -> dict[str, Any]:
    """The whole diagnosis; of very many boundaries the 4,000 strongest."""
    diagnosis = _judged(cache, run).diagnosis
    body = diagnosis.to_dict()
    boundaries = [boundary.to_dict() for boundary in _shown(diagnosis)]
    if len(boundaries) > MANY_BOUNDARIES:
        boundaries = [{name: _six_digits(value) for name, value in boundary.items()} for boundary in boundaries]
    body["boundaries"] = boundaries
    for finding in body["findings"]:
        finding["boundaries"] = finding["boundaries"][:MAX_PLACES]
        finding["steps"] = finding["steps"][:MAX_PLACES]
    return body


def boundaries_impl(cache: RunCache, run: str) -> dict[str, Any]:
    """Step, epoch, jump and z of each boundary, as columns."""
    kept = [boundary.to_dict() for boundary in _shown(_judged(cache, run).diagnosis)]
    return {name: [boundary[name] for boundary in kept] for name in ("step", "epoch", "jump", "z")}


def timeline_impl(cache: RunCache, run: str, *, first: int, last: int | None, points: int) -> dict[str, Any]:
    """The loss of the rows `first <= row < last` in at most `points` buckets; `last` beyond the run means its end.

    Raises:
        InvalidArgumentError: if the range is empty though the run is not.
    """
    recorded = _run(cache, run)
    return timeline.build(recorded, *_range(recorded, first, last), points)


def first_impl(cache: RunCache, run: str, *, first: int, last: int | None, points: int) -> dict[str, Any]:
    """What a page needs to be read: the timeline, and the diagnosis where it is known as the run is now, else None.

    Raises:
        InvalidArgumentError: if the range is empty though the run is not.
    """
    known = cache.settled(run) is not None
    shown = timeline_impl(cache, run, first=first, last=last, points=points)
    return {"timeline": shown, "diagnosis": diagnosis_impl(cache, run) if known else None}


def lens_impl(cache: RunCache, run: str, *, boundary: int, m: int | None) -> dict[str, Any]:
    """One boundary with `m` batches a side, every signal, and the jump as the sum of its parts.

    Raises:
        NotFoundError: if the run has no boundary of that number.
    """
    from tb_losslens.analysis.lens import lens

    judged = _judged(cache, run)
    count = len(judged.diagnosis.boundaries)
    if boundary >= count:
        raise errors.NotFoundError(f"the run has {count} boundaries, numbered from 0; there is no number {boundary}")
    body = lens(judged.run, judged.diagnosis, boundary, m)
    room = MAX_LENS_VALUES // max(1, len(body["columns"][0]))  # those that moved come first, so they are never cut
    at = judged.diagnosis.boundaries[boundary].batch
    around = [epoch.epoch for epoch in judged.run.epochs if at in (epoch.first, epoch.last)]
    body["epochs"] = around if len(around) == 2 else []
    body["gaps"] = timeline.gaps(judged.run, at - body["m"], at + body["m"])
    body["all"] = _superposed(judged, body["m"])
    body["signals"] = [{**signal, "value": shortened(signal["value"])} for signal in body["signals"][:room]]
    return body


def _superposed(judged: Judged, m: int) -> dict[str, Any] | None:
    from tb_losslens.analysis.superposed import superposed

    found = superposed(judged.run, judged.diagnosis.boundaries, m)
    if found is None:
        return None
    columns = [list(range(-m, m)), *(numbers(column, 6) for column in found[:3])]
    return {"names": ["offset", "mean", "low", "high"], "columns": columns, "count": found.boundaries}


def overlay_impl(cache: RunCache, run: str, *, points: int) -> dict[str, Any]:
    """All epochs on one axis, at most 40 of at most `points` positions each."""
    from tb_losslens.analysis.overlay import overlay

    return overlay(_run(cache, run), points)


def fold_impl(cache: RunCache, run: str, *, rows: int, positions: int) -> dict[str, Any]:
    """Mean losses by epoch (at most `rows` groups of epochs) and position (at most `positions`), and what they show."""
    return folded.build(_run(cache, run), rows, positions)


def batches_impl(cache: RunCache, run: str) -> dict[str, Any]:
    """The batches that lie furthest from those around them."""
    return batches.build(_run(cache, run))


def batch_impl(cache: RunCache, run: str, *, batch: int) -> dict[str, Any]:
    """One batch from close by.

    Raises:
        NotFoundError: if the run has no such batch.
    """
    recorded = _run(cache, run)
    if batch >= len(recorded):
        raise errors.NotFoundError(f"the run has {len(recorded)} batches, numbered from 0; there is no number {batch}")
    return batches.one(recorded, batch)


def layers_impl(cache: RunCache, run: str, *, signal: str, first: int, last: int | None, columns: int) -> dict[str, Any]:
    """One number of each layer in the rows `first <= row < last`, in at most `columns` buckets.

    Raises:
        InvalidArgumentError: if there is no such signal, or the range is empty though the run is not.
    """
    if signal not in layers.SIGNALS:
        raise errors.InvalidArgumentError(f"'signal' must be one of {', '.join(layers.SIGNALS)}, got {shown(signal)}")
    recorded = _run(cache, run)
    return layers.build(recorded, signal, *_range(recorded, first, last), columns)


def compare_impl(cache: RunCache, runs: Sequence[str], logdir: str = "") -> dict[str, Any]:
    """Runs side by side; never waits for a diagnosis.

    Raises:
        InvalidArgumentError: for none or too many of them.
        NotFoundError: if one of them was not recorded.
    """
    if not 1 <= len(runs) <= compared.MOST_RUNS:
        raise errors.InvalidArgumentError(f"'run' must be given 1 to {compared.MOST_RUNS} times, got {len(runs)}")
    names = [recorded_run(cache, name) for name in dict.fromkeys(runs)]
    known = cache.overview()
    sides = [_side(cache, name, run_label(name, logdir), known[name]) for name in names if name in known]
    return compared.build([side for side in sides if side is not None])


def report_impl(cache: RunCache, run: str, logdir: str = "") -> dict[str, str]:
    """The diagnosis as markdown."""
    return {"markdown": replace(_judged(cache, run).diagnosis, run=run_label(run, logdir)).to_markdown()}


def recorded_run(cache: RunCache, run: str) -> str:
    """The name `run`, if it was recorded.

    Raises:
        NotFoundError: if it was not. Routes with more parameters ask this first, so that an unknown run is 404 whatever
            the others are.
    """
    if not cache.has(run):
        raise errors.NotFoundError(f"no run {shown(run)} was recorded with LossLens in this log directory")
    return run


def any_run(cache: RunCache, scalars: Scalars, run: str) -> str:
    """The name `run`, if it was recorded or has scalars.

    Raises:
        NotFoundError: if neither is so.
    """
    if not cache.has(run) and run not in scalars.tags():
        raise errors.NotFoundError(f"this log directory has no run {shown(run)}")
    return run


def scalars_impl(cache: RunCache, scalars: Scalars, run: str) -> dict[str, Any]:
    """The standard scalars of a run, recorded or not; a recorded run may have none.

    Raises:
        NotFoundError: if there is no such run.
    """
    tags: Mapping[str, list[str]] = scalars.tags()
    return {"tags": tags.get(any_run(cache, scalars, run), [])[:MAX_POINTS]}


def scalar_impl(cache: RunCache, scalars: Scalars, run: str, tag: str) -> dict[str, Any]:
    """TensorBoard's points of one scalar, with the batch that each belongs to; a plain run's points are counted.

    Raises:
        NotFoundError: if there is no such run, or the run has no such scalar.
    """
    recorded = cache.run(any_run(cache, scalars, run))
    points = scalars.points(run, tag)
    rows = np.arange(len(points.step)) if recorded is None else rows_of(recorded, points)
    columns = [rows.tolist(), points.step[: len(rows)].tolist(), numbers(points.value[: len(rows)])]
    return {"tag": tag, "names": ["batch", "step", "value"], "columns": columns}


def _side(cache: RunCache, name: str, label: str, seen: Overview) -> compared.Side | None:
    """One run of a comparison, or None if it is gone; one that cannot be read does not take the others with it."""
    try:
        found = cache.summarised(name, summary)
    except (LossLensError, OSError) as error:
        trouble = seen.trouble or f"This run could not be read ({type(error).__name__}: {error})"
        return compared.Side(name, label, replace(seen, trouble=trouble), None)
    return compared.Side(name, label, seen, found) if found is not None else None


def _range(run: Run, first: int, last: int | None) -> tuple[int, int]:
    """The rows that a request means; `last` beyond the run means its end.

    Raises:
        InvalidArgumentError: if the range is empty though the run is not.
    """
    n = len(run)
    end = n if last is None else min(last, n)
    if first >= end and n > 0:
        raise errors.InvalidArgumentError(f"the run has batches 0 to {n - 1}; from={first} to={last} holds none of them")
    return min(first, end), end


def _lies_below(name: str, recorded: Set[PurePosixPath]) -> bool:
    """True for what lies below a recorded run: ranks, and the directories of add_scalars and add_hparams."""
    return any(parent in recorded for parent in list(PurePosixPath(name).parents)[:-1])


def _row(name: str, seen: Overview) -> dict[str, Any]:
    known = seen.diagnosis
    kind, verdict, short = seen.words()
    size = {"batches": known.batches if known else 0, "epochs": known.epochs if known else 0}
    told = {"verdict": verdict, "kind": kind, "short": short}
    return {"run": name, **size, **told, "live": seen.live, "plain": False, "version": seen.version}


def _plain_row(name: str) -> dict[str, Any]:
    row = {"run": name, "batches": 0, "epochs": 0, "verdict": PLAIN, "kind": "plain", "short": "scalars only"}
    return {**row, "live": False, "plain": True, "version": ""}


def _run(cache: RunCache, name: str) -> Run:
    run = cache.run(recorded_run(cache, name))
    if run is None:  # it went away since
        raise errors.NotFoundError(f"the run {shown(name)} is gone")
    return run


def _judged(cache: RunCache, name: str) -> Judged:
    judged = cache.judged(recorded_run(cache, name))
    if judged is None:  # it went away since
        raise errors.NotFoundError(f"the run {shown(name)} is gone")
    return judged


def _six_digits(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _shown(diagnosis: Diagnosis) -> list[Boundary]:
    z = np.array([boundary.z for boundary in diagnosis.boundaries], dtype=np.float64)
    return [diagnosis.boundaries[at] for at in strongest(z, MAX_POINTS).tolist()]
