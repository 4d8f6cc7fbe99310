"""How far BatchNorm's running statistics, which a validation uses, are from those of the batches, at each validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tb_losslens.analysis.held_out_curve import Curve
from tb_losslens.analysis.held_out_spikes import unit_of
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.probe_looks import Pair, looks, pair
from tb_losslens.analysis.stats import Floats, finite, median
from tb_losslens.store.run import Run, RunEvent


def lost(pair: Pair, start: float) -> float:
    """What evaluation mode adds to a loss, as a part of what was learned (see `unit_of`); NaN where it is not known."""
    unit = unit_of(start, pair.batch)
    return (pair.eval - pair.batch) / unit if unit > 0 else math.nan


@dataclass(frozen=True)
class Experiment:
    """What the probe measured at one validation; None where it has no such batch, or did not look.

    Attributes:
        heldout, train: its two batches.
        touched: what the loss of the training batch in evaluation mode was at the end of the epoch, where it is another one
            at the begin of the validation, without a change of the weights; else None.
    """

    heldout: Pair | None = None
    train: Pair | None = None
    touched: float | None = None


def experiments(run: Run, curve: Curve) -> list[Experiment]:
    """One for each validation of the curve."""
    out = []
    for row in curve.rows.tolist():
        here = looks(run).get(row, {})
        before, after, end = here.get("before_validation", {}), here.get("after_validation", {}), here.get("t0", {})
        heldout = pair(before, "heldout") or pair(after, "heldout")
        train = pair(before, "train") or pair(after, "train") or pair(end, "train")
        out.append(Experiment(heldout, train, _touched(end, before)))
    return out


def _touched(end: Mapping[str, Any], begin: Mapping[str, Any]) -> float | None:
    first, last = pair(end, "train"), pair(begin, "train")
    same = end.get("parameters") is not None and end.get("parameters") == begin.get("parameters")
    return first.eval if first and last and same and first.batch == last.batch and first.eval != last.eval else None


@dataclass(frozen=True)
class Statistics:
    """The running statistics that a validation used against those of the batches right after it.

    Attributes:
        layer: the one that is furthest off.
        mean: distance of the means in standard deviations of the batch, less what `batch_size` samples stray by.
        log_ratio: logarithm of running over batch variance.
        off: how far that is: 1 is half a standard deviation, or half or four times the variance; NaN where it was not read.
    """

    layer: str = ""
    mean: float = math.nan
    log_ratio: float = math.nan
    off: float = math.nan


def statistics(run: Run, curve: Curve, *, rows: int = 3) -> list[Statistics]:
    """One for each validation of the curve, from the first of up to `rows` batches after it that was read in turn.

    Few samples have a smaller variance than many, in the middle, and means that stray: a running variance above that of the
    batch says less than one below it, and of fewer than 8 samples nothing is told.
    """
    fact = run.facts.get("batchnorm")
    names = [str(name) for name in fact.get("names") or ()] if isinstance(fact, Mapping) else []
    gaps, ratios = run.ragged.get("bn_mean_gap"), run.ragged.get("bn_log_var_ratio")
    if gaps is None or ratios is None or not names or min(len(gaps), len(ratios)) < len(run):
        return [Statistics()] * len(curve)
    turn, sizes = by_turn(run), run.float("batch_size")
    out = []
    for row in curve.rows.tolist():
        known = [r for r in range(row, min(row + rows, len(run))) if turn[r] and sizes[r] >= 8 and len(gaps[r]) == len(names)]
        found = [_furthest(gaps[r], ratios[r], float(sizes[r]), names) for r in known if len(ratios[r]) == len(names)]
        out.append(next((one for one in found if math.isfinite(one.off)), Statistics()))
    return out


def _furthest(gaps: Floats, ratios: Floats, samples: float, names: list[str]) -> Statistics:
    with np.errstate(invalid="ignore", over="ignore"):
        mean = np.sqrt(np.maximum(np.asarray(gaps, dtype=np.float64).ravel() ** 2 - 4 / samples, 0.0))
        ratio = np.asarray(ratios, dtype=np.float64).ravel()
        off = np.fmax(mean / 0.5, np.where(ratio < 0, -ratio / math.log(2), ratio / math.log(4)))
    off = np.where(np.isfinite(off), off, -1.0)
    worst = int(off.argmax())
    if off[worst] < 0:
        return Statistics()
    return Statistics(names[worst], float(mean[worst]), float(ratio[worst]), float(off[worst]))


def lost_of(curve: Curve, tests: Sequence[Experiment], name: str) -> Floats:
    """What evaluation mode costs batch `name` at each validation, as a part of what was learned; NaN where unknown."""
    pairs = [getattr(test, name) for test in tests]
    return np.array([math.nan if one is None else lost(one, curve.start) for one in pairs])


def is_updated(run: Run) -> bool | None:
    """True if the running statistics follow the training in every layer; False where one is frozen; None where unknown."""
    counts = finite(run.float("bn_updates"))
    model = run.facts.get("model")
    if not len(counts) or (isinstance(model, Mapping) and model.get("batchnorm") == 0):
        return None
    return bool(counts[-1] > counts[0] or (np.diff(counts) > 0).any())


def momenta(run: Run) -> list[float]:
    """The momenta of the layers as they were at first; NaN for a plain average. Empty where they are not known."""
    for event in run.events:
        config = event.fields.get("config")
        if not isinstance(config, Mapping):
            continue
        found: list[float] = []
        for key, value in config.items():
            if not (str(key).startswith("momentum of ") or " momentum of " in str(key)):
                continue
            values = list(value) if isinstance(value, Mapping) else [value]
            found += [math.nan if v in (None, "none") else float(v) for v in values]
        return found
    return []


def weight_of_start(row: int, momentum: float) -> float:
    """Part of the running statistics that is still that of before the training, after one update in each of `row` batches."""
    return float((1 - momentum) ** row) if 0 <= momentum < 1 else 0.0


@once_a_run
def outside_updates(run: Run) -> Mapping[int, int]:
    """Updates of the running statistics around a validation that no step made, by its row; negative: they were set back.

    Between two rows whose counts were read, with that validation alone between them: only what is more or less than the rows
    account for, each with as many as usual, and those in evaluation mode with none.
    """
    counts = run.float("bn_updates")
    known = np.flatnonzero(counts >= 0)
    rows = np.unique([event.batch for event in run.events if event.kind == "validation_end"])
    if len(known) < 3 or not len(rows):
        return {}
    steps = np.diff(counts[known])
    trained = np.diff(np.cumsum(run.float("train_mode") != 0)[known])  # of an unknown mode too
    usual = median(steps[trained > 0] / trained[trained > 0]) if (trained > 0).any() else 0.0
    more = steps - usual * trained
    place = np.searchsorted(known, rows)
    inside = (place > 0) & (place < len(known))
    rows, at = rows[inside], place[inside] - 1
    alone = np.bincount(at, minlength=len(more))[at] == 1
    return {int(row): int(more[i]) for row, i in zip(rows[alone], at[alone], strict=True) if abs(more[i]) >= 1}


@once_a_run
def touched_before(run: Run) -> frozenset[int]:
    """Rows before which the running statistics are known to have changed between the last step and the validation there.

    By their counts, or by the checksum of all buffers while that of the weights stays.
    """
    found = set(outside_updates(run))
    end: RunEvent | None = None
    for event in run.events:
        if event.kind == "epoch_end":
            end = event
        elif event.kind == "validation_begin" and end is not None and event.batch == end.batch:
            sums = [(end.fields.get(name), event.fields.get(name)) for name in ("parameters", "buffers")]
            if all(a and b for a, b in sums) and sums[0][0] == sums[0][1] and sums[1][0] != sums[1][1]:
                found.add(event.batch)
    return frozenset(found)
