"""A run from a plain log: ordinary scalars that were not recorded with LossLens, for what they alone can tell.

A row is a logged loss, which may be one in fifty batches. Nothing is interpolated: an epoch, a learning rate or a held-out loss
is there where the log has it, and unknown elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.store.logdir import plain_directories
from tb_losslens.store.plain_epochs import UNKNOWN, Labels, by_length, by_marks, by_restarts, by_tag, unclear
from tb_losslens.store.plain_period import by_period, period_in_steps, rises_with
from tb_losslens.store.plain_rates import rates
from tb_losslens.store.plain_tags import Tags, choose, is_held_out
from tb_losslens.store.run import Run, RunEvent
from tb_losslens.store.scalar_events import FileScalars
from tb_losslens.store.scalars import scalar_files
from tb_losslens.store.series import Series, cut, joined

_REGULAR = 0.02
"""Part of an epoch by which distances may differ where epochs are inferred from them."""


@dataclass(frozen=True)
class _Epochs:
    """Epoch of each row or None, where it is taken from, whether that is inferred, and why there is none."""

    labels: NDArray[np.int64] | None
    source: str = ""
    inferred: bool = False
    why: str = ""


def plain_runs(
    logdir: str | os.PathLike[str],
    recorded: Iterable[str] = (),
    *,
    only: str | None = None,
    loss_tag: str | None = None,
    batches_per_epoch: int | None = None,
) -> dict[str, Run]:
    """Every run below `logdir` that was not recorded with LossLens, by the name that TensorBoard gives it; see `plain_run`.

    Args:
        logdir: as for `load_runs`.
        recorded: names of the recorded runs.
        only: the name of the one that is wanted; all where it is None.
        loss_tag: the scalar that is the training loss; found by its name where it is None.
        batches_per_epoch: steps of an epoch, on the axis of that scalar; from the log where it is None.

    Raises:
        LogdirError: there is no such directory.
    """
    options: dict[str, Any] = {"loss_tag": loss_tag, "batches_per_epoch": batches_per_epoch}
    found = plain_directories(logdir, tuple(recorded))
    return {name: plain_run(path, name, **options) for name, path in found.items() if only in (None, name)}


def plain_run(
    directory: str | os.PathLike[str], name: str = "", *, loss_tag: str | None = None, batches_per_epoch: int | None = None
) -> Run:
    """The scalars of one directory as a run with `plain` set.

    Its columns are `step`, `time` and, where the log has them, `loss`, `epoch` and `lr`; its fact `plain` says what they were
    taken from: `tag`, `every` (steps from one loss to the next), `epochs` (in words), `inferred` (they are), and `no_loss`,
    `no_epochs`: why there is none, half a sentence each, else "".

    Raises:
        LogdirError: there is no such directory.
    """
    # By name `...pid.10` would come before `...pid.9` of the same second.
    files = sorted(scalar_files(directory), key=_begun)
    return assembled(name or Path(directory).name, files, loss_tag=loss_tag, batches_per_epoch=batches_per_epoch)


def _begun(file: FileScalars) -> float:
    """When the first point of a file was written; 0 where it has none."""
    return min((float(points.time[0]) for points in file.points.values()), default=0.0)


def assembled(
    name: str, files: list[FileScalars], *, loss_tag: str | None = None, batches_per_epoch: int | None = None
) -> Run:
    """The run that the event files of one directory, oldest first, make; see `plain_run`."""
    counts: dict[str, int] = {}
    for file in files:
        for tag, points in file.points.items():
            counts[tag] = counts.get(tag, 0) + len(points.step)
    tags = choose(counts, loss_tag)
    if loss_tag is None and tags.loss and is_held_out(name):
        tags = Tags(why=f"by its name it holds what was not trained on (`--loss-tag {tags.loss}` takes it all the same)")
    back = () if tags.loss else _going_back(files)
    axis = tags.loss or next(iter(back), "")
    if not axis:
        return Run(name, facts={"plain": _facts(tags, why=tags.why)}, plain=True)
    ends, sessions, superseded = cut(files, axis)
    rows = joined(files, axis, ends)
    series = {tag: joined(files, tag, ends) for tag in (*tags.epochs, *tags.ends, *tags.rates, tags.held_out) if tag}
    counting = {tag: joined(files, tag, ends) for tag in _counting(rows, files, tags.loss)}
    found = _epochs(rows, tags, series, counting=counting, length=batches_per_epoch) if tags.loss else _Epochs(None)
    keep, labels = np.ones(len(rows), dtype=bool), found.labels
    if labels is not None:
        outside, _ = unclear(labels)
        keep, labels = ~outside, labels[~outside]
    rows = rows.where(keep)
    columns: dict[str, NDArray[Any]] = {"step": rows.step, "time": rows.time}
    if tags.loss:
        columns["loss"] = rows.value
    if labels is not None:
        columns["epoch"] = labels
    given, unplaced = rates(rows, labels, {tag: series[tag] for tag in tags.rates})
    facts = _facts(tags, rows=rows, epochs=found, left_out=int((~keep).sum()), why=tags.why)
    purge = [file.purge_step for file in files if file.purge_step is not None]
    return Run(
        name,
        {**columns, **given},
        events=_validations(rows, labels, series.get(tags.held_out)),
        facts={
            "plain": {**facts, "rate_unplaced": unplaced, "back": list(back)},
            **({"loss_source": f"scalar:{tags.loss}"} if tags.loss else {}),
            **({"purge_step": purge[-1]} if purge else {}),
        },
        sessions=sessions,
        superseded=superseded,
        plain=True,
    )


def _going_back(files: list[FileScalars]) -> tuple[str, ...]:
    """The scalars whose steps go back within a file, for a log in which none is the loss."""
    return tuple(sorted({tag for file in files for tag, points in file.points.items() if (np.diff(points.step) < 0).any()}))


def _facts(
    tags: Tags, *, rows: Series | None = None, epochs: _Epochs | None = None, left_out: int = 0, why: str = ""
) -> dict[str, Any]:
    steps = np.diff(rows.step) if rows is not None else np.empty(0, np.int64)
    return {
        "tag": tags.loss,
        "every": int(np.median(steps)) if len(steps) else 0,
        "epochs": epochs.source if epochs is not None else "",
        "inferred": epochs is not None and epochs.inferred,
        "left_out": left_out,
        "no_loss": why,
        "no_epochs": epochs.why if epochs is not None else "",
        "held_out": tags.held_out,
        "rates": list(tags.rates),
    }


def _epochs(
    rows: Series, tags: Tags, series: Mapping[str, Series], *, counting: Mapping[str, Series], length: int | None
) -> _Epochs:
    """The epochs of the rows: as the user says, from a tag of epochs, from what is written once in each, or inferred."""
    back = bool((np.diff(rows.step) < 0).any())
    if length is not None:
        if back:
            return _Epochs(None, why=f"the steps of `{tags.loss}` go back, so that they cannot be counted off")
        return _judged(by_length(rows.step, length), f"`--batches-per-epoch {length}`")
    refused = []
    if not back:
        for tag in tags.epochs:
            mark = series[tag]
            found = _judged(by_tag(rows.step, mark.step, mark.value, written=rows.before(mark)), f"`{tag}`")
            if found.labels is not None:
                return found
            refused.append(found.why)
    else:
        found = _judged(by_restarts(rows.step), f"the step of `{tags.loss}`, which begins again in each", inferred=True)
        return found if found.labels is not None else _Epochs(None, why=f"the steps of `{tags.loss}` go back")
    for tag in tags.ends:
        found = _marked(rows, series[tag], f"`{tag}`", regular=_REGULAR)
        if found.labels is not None:
            return found
    for tag, mark in counting.items():
        found = _marked(rows, mark, f"`{tag}`, whose step counts by one", regular=_REGULAR, inferred=True)
        if found.labels is not None:
            return found
    if tags.held_out:
        every = series[tags.held_out]
        found = _marked(rows, every, f"where `{tags.held_out}` is written", regular=_REGULAR, inferred=True)
        if found.labels is not None:
            return found
        if len(every) * 3 > len(rows):
            refused.append(f"`{tags.held_out}` is written with each loss, as if both were written once an epoch")
    jumps = by_period(rows.step, rows.value)
    if jumps.epoch is not None and any(rises_with(rows.step, jumps.epoch, series[tag]) for tag in tags.rates):
        refused.append(f"`{tags.loss}` jumps where the learning rate does, which need not be where epochs begin")
    elif jumps.epoch is not None:
        apart = period_in_steps(rows.step, jumps.epoch)
        return _judged(jumps, f"`{tags.loss}` itself, which jumps every {apart:,} steps or so", inferred=True)
    return _Epochs(None, why="; ".join(refused) or "no scalar tells it")


def _marked(rows: Series, mark: Series, source: str, *, regular: float, inferred: bool = False) -> _Epochs:
    if len(mark) * 3 > len(rows):  # one for each loss or so: it marks nothing
        return _Epochs(None, why=f"{source} is written with each loss")
    return _judged(by_marks(rows.before(mark), len(rows), regular=regular), source, inferred=inferred)


def _judged(labels: Labels, source: str, *, inferred: bool = False) -> _Epochs:
    if labels.epoch is None:
        return _Epochs(None, why=f"{source} {labels.why}")
    _, why = unclear(labels.epoch)
    if why:
        return _Epochs(None, why=f"{source} {why}")
    return _Epochs(labels.epoch, source, inferred)


def _counting(rows: Series, files: list[FileScalars], loss: str) -> list[str]:
    """Scalars whose step is a number of its own, one more each time, as of those that are written once an epoch."""
    most: dict[str, list[NDArray[np.int64]]] = {}
    for file in files:
        for tag, points in file.points.items():
            if tag != loss:
                most.setdefault(tag, []).append(points.step)
    out = []
    for tag, parts in most.items():
        step = np.concatenate(parts)
        if len(step) > 1 and step[0] in (0, 1) and (np.diff(step) == 1).all() and 5 * step[-1] < rows.step[-1]:
            out.append(tag)
    return sorted(out)


def _validations(rows: Series, labels: NDArray[np.int64] | None, held_out: Series | None) -> tuple[RunEvent, ...]:
    """The values of the held-out loss, each after the losses that were written before it."""
    if held_out is None or not len(rows):
        return ()
    places = rows.before(held_out)
    out = []
    for place, step, time, value in zip(
        places.tolist(), held_out.step.tolist(), held_out.time.tolist(), held_out.value.tolist(), strict=True
    ):
        epoch = int(labels[place - 1]) if labels is not None and place else UNKNOWN
        out.append(RunEvent("validation_end", place, step, time, fields={"value": value, "epoch": epoch}))
    return tuple(out)
