"""What each recorded signal does at one boundary, in numbers and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tb_losslens.analysis.boundaries import Cuts
from tb_losslens.analysis.contrast import contrast
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.mix import class_shares
from tb_losslens.analysis.per_layer import PER_LAYER, by_layer, of_layer
from tb_losslens.analysis.recordable import lines_there
from tb_losslens.analysis.stats import Floats, finite, mean, median
from tb_losslens.analysis.text import number, plural, times
from tb_losslens.events.columns import BY_NAME, Signal, how_to_record
from tb_losslens.store.run import Run

HIDDEN = frozenset(
    {"step", "time", "loss", "epoch", "index", "class_rest", "dense", "cadence"}
    | {"loss_identity", "output_kind", "input_relation", "sample_level_at", "prev_grad_dot_update", "sample_loss_max_id"}
)
"""Columns that are the axis, the loss itself, half of another signal, of the recording, or codes and no sizes."""

TWINS = {"grad_norm_at_step": "grad_norm", "logged_loss": "loss"}
"""Signals that are shown only where they differ from another one."""

FIRST = (
    "lr",
    "grad_norm",
    "grad_norm_at_step",
    "update_ratio",
    "input_mean",
    "input_std",
    "target_mean",
    "target_std",
    "classes",
    "batch_size",
    "curvature",
    "grad_dot_update",
    "moment1_norm",
    "moment2_norm",
    "weight_norm",
)
"""Order of the signals that did not move; the others follow as they are listed in events/columns.py."""

WANTED = ("lr", "grad_norm", "input_mean", "batch_size", "train_mode", "classes", "data_wait", "sample_ids", "per_sample")
"""Signals that are named as missing where they were not recorded. A target mean stands in for the class mix."""


@dataclass(frozen=True)
class Move:
    """One signal around a boundary.

    Attributes:
        name, label, unit: as in events/columns.py; a column of the user's own has its name as label.
        value: shape (rows,), the rows shown.
        said: what it did, in words.
        moved: true if it changed at the boundary more than elsewhere.
        z: contrast at the boundary against cuts beside it; NaN where the signal has no noise to compare with.
        lag: batches after the boundary at which it had moved half way; 0 if at once.
    """

    name: str
    label: str
    unit: str
    value: Floats
    said: str
    moved: bool
    z: float
    lag: int = 0


def moves(run: Run, boundary: Boundary, first: int, last: int) -> list[Move]:
    """Every recorded signal, those that moved first; values of the rows `first <= row < last`."""
    low, high = _neighbourhood(run, boundary)
    out = []
    for name in _names(run):
        column = _class_distance(run, boundary, low, high) if name == "classes" else run.float(name)[low:high]
        twin = TWINS.get(name)
        if twin and _same(column, run.float(twin)[low:high]):
            continue
        if not np.isfinite(column).any() or (name == "input_nonfinite" and not np.nansum(column)):
            continue
        shown = np.full(last - first, np.nan)
        a, b = max(first, low), min(last, high)
        shown[a - first : b - first] = column[a - low : b - low]
        out.append(_move(name, column, boundary.batch - low, boundary.m, shown=shown, at=boundary.batch - first))
    out += _layers(run, boundary, (low, high), (first, last))
    order = {move.name: position for position, move in enumerate(out)}
    return sorted(out, key=lambda move: (not move.moved, move.lag if move.moved else 0, order[move.name]))


def _layers(
    run: Run, boundary: Boundary, around: tuple[int, int], rows: tuple[int, int], *, most: int = 3, least: int = 2
) -> list[Move]:
    """Of the numbers of each layer, those that moved at the boundary, the `most` with the largest z.

    Those of `least` tensors (one layer: its weight and bias) are those of the whole model, which is shown anyway.
    """
    (low, high), (first, last) = around, rows
    found = []
    for column in PER_LAYER:
        names, table = by_layer(run, column, low, high)
        for place, name in enumerate(names if len(names) > least else ()):
            values, shown, a, b = table[:, place], np.full(last - first, np.nan), max(first, low), min(last, high)
            shown[a - first : b - first] = values[a - low : b - low]
            move = _move(f"{column}.{name}", values, boundary.batch - low, boundary.m, shown=shown, at=boundary.batch - first)
            if move.moved and math.isfinite(move.z):
                found.append(replace(move, label=of_layer(column, name), unit=BY_NAME[column].unit))
    return sorted(found, key=lambda move: -abs(move.z))[:most]


def missing(run: Run) -> list[dict[str, str]]:
    """Signals that would help and were not recorded, each with the line of code that records it."""
    lacking = [name for name in WANTED if not run.has(name) and not (name == "classes" and run.has("target_mean"))]
    said = [{"label": BY_NAME[name].label, "how": how_to_record(name)} for name in lacking]
    return [line for line in said if line["how"] not in lines_there(run)]


def _names(run: Run) -> list[str]:
    known = [name for name in (*FIRST, *BY_NAME) if name not in HIDDEN and (name in run.columns or name == "classes")]
    known = list(dict.fromkeys(known))
    groups = sorted(name for name in run.columns if name.startswith("lr.") and name[3:].isdigit())
    extra = sorted(name for name in run.columns if name not in BY_NAME and name not in groups)
    if "lr" in known:
        known[known.index("lr") + 1 : known.index("lr") + 1] = groups
        groups = []
    return [name for name in [*known, *groups, *extra] if run.has(name) and _numeric(run, name)]


def _numeric(run: Run, name: str) -> bool:
    return name in run.ragged or (run.columns[name].ndim == 1 and run.columns[name].dtype.kind in "fiub")


def _neighbourhood(run: Run, boundary: Boundary, *, reach: int = 40) -> tuple[int, int]:
    """Rows of the two epochs, at most `reach` windows (and 200 rows) either side: enough cuts to compare with."""
    epochs = run.epochs[boundary.index : boundary.index + 2]
    span = max(reach * boundary.m, 200)
    low = max(0, min(epochs[0].first, boundary.batch), boundary.batch - span)
    return low, min(len(run), max(epochs[-1].last, boundary.batch + 1), boundary.batch + span)


def _move(
    name: str, column: Floats, cut: int, m: int, *, shown: Floats, at: int, far: float = 4.0, least_time: float = 2.0
) -> Move:
    """Judges one signal, `column` being the rows around the boundary and `cut` the first of them after it.

    `shown` are the rows that are drawn, `at` the first of them after the boundary. Times move with every load of the machine:
    they must change by a factor of `least_time` besides.
    """
    label = f"LR group {name[3:]}" if name.startswith("lr.") else name
    signal = BY_NAME.get(name) or Signal(name, label, "", "", "")
    left, right = column[:cut], column[cut:]
    exact = name == "train_mode" or _is_step(column)
    # What is set holds until it is set again; of what is measured both means that are compared must be there.
    near = min(2 * m, max(m, at, len(shown) - at)) if exact else m
    unread = _unread(left[-near:], right[:near], shown, at)
    if unread:
        return Move(name, signal.label, signal.unit, shown, unread, False, math.nan)
    if exact:
        said, moved = _exact(name, left, right)
        return Move(name, signal.label, signal.unit, shown, said, moved, math.nan)
    start = np.array([cut], dtype=np.int64)
    cuts = Cuts(np.zeros_like(start), start, start, np.array([len(column)], dtype=np.int64), start, len(column))
    sizes = [m, max(1, m // 2), 2 * m]
    judged = [float(contrast(column, cuts, size).z[0]) for size in sizes]
    up, down = sum(z > far for z in judged), sum(z < -far for z in judged)
    z = judged[0]
    before, after = mean(left[-m:]), mean(right[:m])
    slight = signal.unit == "s" and max(before, after) < least_time * min(before, after)
    if max(up, down) < 2 or slight:
        said = f"steady (z {abs(z):.1f})" if math.isfinite(z) else f"about {number(median(column))}"
        return Move(name, signal.label, signal.unit, shown, said, False, z)
    lag = _lag(right, before, after)
    later = f", {plural(lag, 'batch')} later" if lag > 0 else ""
    return Move(name, signal.label, signal.unit, shown, _arrow(before, after) + later, True, z, lag)


def _unread(before: Floats, after: Floats, shown: Floats, at: int) -> str:
    """On which side of the boundary a signal was not read, in words; empty where it was read on both."""
    read = [bool(np.isfinite(part).any()) for part in (before, after)]
    if all(read):
        return ""
    if not any(read):
        return "not read here"
    if not np.isfinite(shown[at:] if read[0] else shown[:at]).any():
        return f"read {'before' if read[0] else 'after'} the boundary only"
    return f"not read right {'after' if read[0] else 'before'} it"


def _is_step(column: Floats, *, least: int = 10) -> bool:
    """True for a signal that is set and not measured: at most a tenth of its changes are changes at all, or it glides.

    A glide (a decaying LR) changes by nearly the same amount each time, which fewer than `least` changes may do by chance.
    """
    change = np.diff(finite(column))
    if len(change) < 2:
        return True
    if (change == 0).mean() >= 0.9:
        return True
    if len(change) < least:
        return False
    typical = np.median(np.abs(change))
    return bool(np.median(np.abs(np.diff(change))) < 0.2 * typical)


def _exact(name: str, left: Floats, right: Floats, *, beyond: float = 5.0, least: float = 0.01) -> tuple[str, bool]:
    """Words for a signal without noise: did it change between the two batches at the cut, beyond its changes elsewhere?"""
    a, b = finite(left), finite(right)
    if not len(a) or not len(b):
        return "known on one side only", False
    before, after = float(a[-1]), float(b[0])
    if name == "train_mode":
        words = {1.0: "train", 0.0: "eval"}
        said = [words.get(v, "partly train") for v in (before, after)]
        return (f"{said[0]} → {said[1]}", True) if before != after else (_throughout(a, b, said[0]), False)
    elsewhere = np.concatenate([np.abs(np.diff(a[-50:])), np.abs(np.diff(b[:50]))])
    usual = float(np.median(elsewhere)) if len(elsewhere) else 0.0
    change = abs(after - before)
    if change > beyond * usual and change > least * max(abs(before), abs(after)):
        return _arrow(before, after), True
    if np.ptp(np.concatenate([a, b])) == 0:
        return f"{number(before)} throughout", False
    return f"{number(before)}, gliding" if change else f"{number(before)} on both sides", False


def _throughout(a: Floats, b: Floats, word: str) -> str:
    both = np.concatenate([a, b])
    return f"{word} throughout" if np.ptp(both) == 0 else f"{word} here, {plural(int((both != a[-1]).sum()), 'other batch')}"


def _arrow(before: float, after: float) -> str:
    """0.002 → 0.102 (×51); the factor where it says more than the two numbers."""
    text = f"{number(before)} → {number(after)}".replace("-", "\u2212")
    if before > 0 and after > 0 and not 0.8 < after / before < 1.25:
        return f"{text} ({times(float(f'{after / before:.2g}'))})"
    return text


def _lag(right: Floats, before: float, after: float) -> int:
    """First batch after the cut at which the signal is half way from `before` to `after`."""
    half = np.abs(right - before) > 0.5 * abs(after - before)
    return int(np.argmax(half)) if half.any() else 0


def _same(a: Floats, b: Floats) -> bool:
    both = np.isfinite(a) & np.isfinite(b)
    return bool(np.allclose(a[both], b[both], rtol=1e-5, atol=0)) if both.any() else False


def _class_distance(run: Run, boundary: Boundary, low: int, high: int, *, most: int = 64) -> Floats:
    """How far the class mix of each batch is from that of the last quarter of the epoch before the boundary.

    Half the sum of |share - share| over the `most` frequent classes: the part of the samples that are of other classes,
    0..1. A batch is compared with the others of that quarter, not with itself.
    """
    share = class_shares(run, low, high, most=most)
    cut = boundary.batch - low
    quarter = max(boundary.m, cut // 4, 2)
    mine = np.zeros(len(share), dtype=bool)
    mine[max(0, cut - quarter) : cut] = True
    known = share.sum(axis=1) > 0
    total, count = share[mine].sum(axis=0), int((mine & known).sum())
    others = (total - np.where(mine[:, None], share, 0.0)) / np.maximum(count - mine, 1)[:, None]
    return np.where(known & (count > 1), np.abs(share - others).sum(axis=1) / 2, np.nan)
