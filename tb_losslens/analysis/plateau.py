"""What a ReduceLROnPlateau was given: its rule, replayed on every metric that was recorded, against the LR that was used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.stats import Floats, mean
from tb_losslens.store.run import Epoch, Run

PLATEAU = "ReduceLROnPlateau"
HELD_OUT = "the held-out loss"
BATCH = "the loss of each batch"
_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")


@dataclass(frozen=True)
class Settings:
    """Arguments of the scheduler, as torch names them; `min_lr` is that of the first parameter group."""

    mode: str
    factor: float
    patience: int
    threshold: float
    relative: bool
    cooldown: int
    min_lr: float
    eps: float

    def better(self, value: float, best: float) -> bool:
        """True if `value` counts as an improvement on `best`."""
        sign = 1.0 if self.mode == "max" else -1.0
        if math.isinf(best):
            return sign * value > sign * best
        limit = best * (1.0 + sign * self.threshold) if self.relative else best + sign * self.threshold
        return sign * value > sign * limit


@dataclass(frozen=True)
class Followed:
    """One metric with which the rule gives exactly the LRs that were used.

    Attributes:
        metric: what it is, in words; "" for any metric that never gets better than its first value.
        values: one for each step of the scheduler, shape (k,).
        rows: first row that is trained with what the step set, shape (k,); the last may be the end of the run.
        cuts: indices of the steps that cut the LR.
    """

    metric: str
    values: Floats
    rows: NDArray[np.int64]
    cuts: tuple[int, ...]


def settings_of(run: Run) -> Settings | None:
    """The settings of the scheduler of a run; None where it is no such scheduler, or not all of them are known."""
    facts = run.facts.get("scheduler")
    if not isinstance(facts, Mapping) or facts.get("class") != PLATEAU:
        return None
    low = facts.get("min_lr", 0.0)
    low = low[0] if isinstance(low, Sequence) and low else low
    numbers = [facts.get(name) for name in ("factor", "patience", "threshold", "cooldown", "eps")]
    if not all(isinstance(one, int | float) for one in (*numbers, low)) or facts.get("mode") not in ("min", "max"):
        return None
    factor, patience, threshold, cooldown, eps = (float(one) for one in numbers if one is not None)
    relative = facts.get("threshold_mode") == "rel"
    return Settings(str(facts["mode"]), factor, int(patience), threshold, relative, int(cooldown), float(low), eps)


def replay(settings: Settings, values: Sequence[float], lr: float) -> tuple[list[float], list[int]]:
    """(LR after each step, indices of the steps that cut it), by the rule of torch."""
    best = -math.inf if settings.mode == "max" else math.inf
    bad = cooling = 0
    rates, cuts = [], []
    for k, value in enumerate(values):
        if settings.better(value, best):
            best, bad = value, 0
        else:
            bad += 1
        if cooling > 0:
            cooling -= 1
            bad = 0
        if bad > settings.patience:
            new = max(lr * settings.factor, settings.min_lr)
            if lr - new > settings.eps:
                lr = new
                cuts.append(k)
            cooling, bad = settings.cooldown, 0
        rates.append(lr)
    return rates, cuts


def followed(context: Context, settings: Settings) -> list[Followed]:
    """Every recorded metric with which the rule gives the LRs that were used, the held-out loss first.

    Empty where the steps of the scheduler cannot be told, or none fits: it was given something else.
    """
    run = context.run
    rate = filled(run.float("lr"))
    if not len(rate) or not math.isfinite(rate[0]):
        return []
    found = []
    for metric, values, rows in _metrics(run, context.epochs):
        if len(values) and np.isfinite(values).all():
            rates, cuts = replay(settings, values.tolist(), float(rate[0]))
            if _same(rate, rates, rows):
                found.append(Followed(metric, values, rows, tuple(k for k in cuts if rows[k] < len(run))))
    return found


def steps_of(epochs: Sequence[Epoch]) -> list[int] | None:
    """Steps that the only scheduler counts from the end of one epoch to that of the next; None where it is not known."""
    counts = [_count(epoch.fields) for epoch in epochs]
    if len(counts) < 2 or None in counts:
        return None
    return [b - a for a, b in pairwise(one for one in counts if one is not None)]


def _count(fields: Mapping[str, Any]) -> int | None:
    schedule = fields.get("schedule")
    one = schedule[0] if isinstance(schedule, list) and len(schedule) == 1 else None
    if not isinstance(one, Mapping) or one.get("class") != [PLATEAU]:
        return None
    steps = one.get("steps")
    return steps[0] if isinstance(steps, list) and len(steps) == 1 and isinstance(steps[0], int) else None


def _metrics(run: Run, epochs: Sequence[Epoch]) -> list[tuple[str, Floats, NDArray[np.int64]]]:
    """What was recorded as often as the scheduler made a step: (metric, values, first row after each step)."""
    counted = steps_of(epochs)
    if counted is None:
        return []
    ends = np.array([epoch.last for epoch in epochs], dtype=np.int64)
    held = [v for v in run.validations if v.batch > 0]
    rows = np.array([v.batch for v in held], dtype=np.int64)
    out = []
    # one right at the end of an epoch comes before the scheduler is looked at, or after it
    if any(np.array_equal(np.diff(np.searchsorted(rows, ends, side=side)), counted) for side in _SIDES):
        out.append((HELD_OUT, np.array([v.value for v in held]), rows))
    loss, sizes = run.loss, run.float("batch_size")
    if set(counted) == {1}:
        parts = [(loss[e.first : e.last], sizes[e.first : e.last]) for e in epochs]
        out.append(("the mean training loss of the epoch", np.array([mean(part) for part, _ in parts]), ends))
        weighted = np.array([float((part * size).sum() / size.sum()) if size.sum() > 0 else math.nan for part, size in parts])
        out.append(("the training loss of the epoch by samples", weighted, ends))
        out.append(("the loss of the last batch of the epoch", np.array([part[-1] for part, _ in parts]), ends))
        out.append(("", np.ones(len(ends)), ends))
    elif counted == [len(epoch) for epoch in epochs[1:]]:
        each = np.arange(1, len(run) + 1)
        out += [(BATCH, loss, each), ("", np.ones(len(run)), each)]
    return out


def _same(rate: Floats, rates: Sequence[float], rows: NDArray[np.int64], *, tolerance: float = 1e-5) -> bool:
    """True if each row was trained with the LR that the steps before it had set."""
    expected = np.full(len(rate), rate[0])
    for lr, row in zip(rates, rows.tolist(), strict=True):
        expected[row:] = lr
    return bool((np.abs(rate - expected) <= tolerance * np.abs(expected)).all())
