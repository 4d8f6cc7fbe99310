"""Builds the timeline of a run, as /timeline answers it: loss in buckets, and what else lies on the same axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.unlogged import unlogged
from tb_losslens.events.columns import how_to_record
from tb_losslens.plugin.wire import numbers
from tb_losslens.store.downsample import bucket_starts, bucket_stats, spread
from tb_losslens.store.run import Run, RunEvent

_NOT_SHOWN = frozenset({"epoch_begin", "epoch_end", "validation_begin", "validation_end", "facts", "probe"})
_MAX_EPOCHS = 400
_MAX_EVENTS = 400
_MAX_VALIDATIONS = 4000
_MAX_TEXT = 500
_RARE = 0.05


def build(run: Run, first: int, last: int, points: int) -> dict[str, Any]:
    """The rows `first <= row < last` of `run` in at most `points` buckets; see http_api.md for the shape."""
    starts = bucket_starts(first, last, points)
    loss = run.loss
    stats = bucket_stats(loss, starts, last)
    return {
        "run": run.name,
        "from": first,
        "to": last,
        "batches": len(run),
        "raw": last - first <= len(starts),
        "names": ["batch", "step", "mean", "min", "max"],
        "columns": [starts.tolist(), run.step[starts].tolist(), numbers(stats.mean), numbers(stats.low), numbers(stats.high)],
        "lanes": _lanes(run, starts, last),
        "more": _more(run, starts, last),
        "nonfinite": _nonfinite(run, loss, starts, last),
        "gaps": gaps(run, first, last),
        "epochs": _epochs(run, first, last),
        "validation": _validation(run, first, last),
        "events": _events(run, first, last),
        "settings": {
            "loss_source": str(run.facts.get("loss_source", "")),
            "overhead": run.facts.get("overhead"),
            "elapsed": run.facts.get("elapsed"),
        },
        "missing": _missing(run),
    }


def gaps(run: Run, first: int, last: int) -> dict[str, list[int]]:
    """Where batches are missing in `first <= row <= last`: the row after each hole, and how many were lost in it."""
    inside = [gap for gap in run.gaps if first <= gap.row <= last]
    kept = [inside[at] for at in spread(len(inside), _MAX_EPOCHS).tolist()]
    return {"batch": [gap.row for gap in kept], "lost": [gap.batches for gap in kept]}


def _lanes(run: Run, starts: NDArray[np.int64], last: int) -> dict[str, Any]:
    if not run.has("lr"):
        return {"names": ["batch"], "columns": [starts.tolist()]}
    lr = run.float("lr")
    rows = _telling_rows(lr, starts, last)
    return {"names": ["batch", "lr"], "columns": [rows.tolist(), numbers(lr[rows])]}


def _more(run: Run, starts: NDArray[np.int64], last: int) -> list[dict[str, Any]]:
    """Signals beside the LR, a value for each bucket: the longest wait for data; the mode if it was ever another than train."""
    out = []
    if run.has("data_wait"):
        longest = bucket_stats(run.float("data_wait"), starts, last).high
        out.append({"name": "data_wait", "label": "data wait", "unit": "s", "value": numbers(longest, 4)})
    if run.has("train_mode"):
        mode = run.float("train_mode")
        if (mode < 1).any():
            lowest = bucket_stats(mode, starts, last).low
            out.append({"name": "train_mode", "label": "train mode", "unit": "", "value": numbers(lowest, 4)})
    return out


def _telling_rows(values: NDArray[np.float64], starts: NDArray[np.int64], last: int) -> NDArray[np.int64]:
    """First row of each bucket, its rows with the smallest and the largest value, and the last row of all; in order.

    A line through them shows each extreme, and a step within a bucket where it is.
    """
    if not len(starts):
        return starts
    first = int(starts[0])
    part = values[first:last]
    stats = bucket_stats(values, starts, last)
    changing = stats.low < stats.high  # an LR that rests has nothing to tell in most buckets, and most LRs rest
    found = [starts, np.array([last - 1], dtype=np.int64)]
    size = np.diff(starts, append=last)
    for extreme in (stats.low, stats.high) if changing.any() else ():
        at = np.flatnonzero(part == np.repeat(np.where(changing, extreme, np.nan), size))
        opens = np.flatnonzero(np.diff(np.searchsorted(starts, first + at, side="right"), prepend=0))  # the first of each
        found.append(first + at[opens])
    return np.unique(np.concatenate(found))


def _missing(run: Run) -> list[dict[str, str]]:
    """What this picture lacks because it was never recorded, each with the line of code that records it."""
    lacking = [] if run.has("lr") else [{"label": "LR", "how": how_to_record("lr")}]
    if not run.validations:
        ran = any(event.ends_validation for event in run.events)
        how = "writer.log_validation(value)" if ran else 'val_loader = writer.wrap(val_loader, split="val")'
        lacking.append({"label": "validation", "how": how})
    return lacking


def _nonfinite(
    run: Run,
    loss: NDArray[np.float64],
    starts: NDArray[np.int64],
    last: int,
    *,
    rare: float = _RARE,
) -> list[int]:
    """First row of each bucket that has no finite loss; and the first bad row of others where bad rows are rare.

    A single NaN must not vanish in a bucket of finite values. Where more than the share `rare` of the range is NaN
    beside finite values, the loss is simply not logged at every batch.
    """
    if not len(starts):
        return []
    bad = ~np.isfinite(loss[starts[0] : last])
    if not bad.any():
        return []
    bad &= ~unlogged(run)[starts[0] : last]
    if not bad.any():
        return []
    if not np.isfinite(loss).any():
        every: list[int] = starts.tolist()
        return every
    edges = starts - starts[0]
    count = np.add.reduceat(bad, edges, dtype=np.int64)
    size = np.diff(edges, append=len(bad))
    mixed = (count > 0) & (count < size)
    out = starts[count == size]
    if count[mixed].sum() <= rare * len(bad):
        rows = np.flatnonzero(bad)
        out = np.sort(np.concatenate([out, starts[0] + rows[np.searchsorted(rows, edges[mixed])]]))
    found: list[int] = out.tolist()
    return found


def _epochs(run: Run, first: int, last: int) -> dict[str, list[int]]:
    inside = [epoch for epoch in run.epochs if epoch.first < last and epoch.last > first]
    every = -(-len(inside) // _MAX_EPOCHS) if inside else 1
    groups = [inside[at : at + every] for at in range(0, len(inside), every)]
    return {
        "epoch": [group[0].epoch for group in groups],
        "from": [group[0].first for group in groups],
        "to": [group[-1].last for group in groups],
    }


def _validation(run: Run, first: int, last: int) -> dict[str, Any]:
    inside = [v for v in run.validations if first <= v.batch <= last]
    kept = [inside[at] for at in spread(len(inside), _MAX_VALIDATIONS).tolist()]
    return {
        "batch": [v.batch for v in kept],
        "step": [v.step for v in kept],
        "value": numbers(np.array([v.value for v in kept], dtype=np.float64)),
    }


def _events(run: Run, first: int, last: int) -> dict[str, Any]:
    shown = (event for event in run.events if event.ends_validation or event.kind not in _NOT_SHOWN)
    inside = [event for event in shown if first <= event.batch <= last]
    kept = _most_telling(inside)
    return {
        "batch": [event.batch for event in kept],
        "step": [event.step for event in kept],
        "kind": [event.kind for event in kept],
        "text": [event.text[:_MAX_TEXT] for event in kept],
    }


def _most_telling(events: list[RunEvent]) -> list[RunEvent]:
    """At most 400 events in order: validations, which come in great numbers and all alike, give way first."""
    if len(events) <= _MAX_EVENTS:
        return events
    rare = [at for at, event in enumerate(events) if event.kind != "validation_end"]
    common = [at for at, event in enumerate(events) if event.kind == "validation_end"]
    kept = [rare[at] for at in spread(len(rare), _MAX_EVENTS).tolist()]
    if len(kept) < _MAX_EVENTS:
        kept += [common[at] for at in spread(len(common), _MAX_EVENTS - len(kept)).tolist()]
    return [events[at] for at in sorted(kept)]
