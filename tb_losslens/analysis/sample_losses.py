"""What single samples lose: which stay high, and how the loss goes with how often, and how long ago, a sample was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.sample_counts import Found
from tb_losslens.analysis.sample_visits import Visits, group_mean
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.tails import t_sf
from tb_losslens.analysis.text import number, p_value, percent, plural, signed, some
from tb_losslens.store.run import Run


def stays_high(run: Run, seen: Visits, *, top: float = 0.1, least: int = 3, more: float = 3.0, named: int = 10) -> Found:
    """Samples that are among the highest `top` of their epoch at each of the later half of their visits.

    A sample counts that has `least` such visits or more with a known loss. If ranks were drawn anew each time, `top` to the
    power of its visits would be high; that is added up over the samples, and where no more than `more` times as many are high,
    none is named. A sample that stays high is hard, rare or mislabelled; which of these is for a reader to see.
    """
    used = np.isfinite(seen.loss) & by_turn(run)[seen.row]
    if not used.any() or not run.epochs:
        return None, "no loss of a sample was read"
    epoch = np.searchsorted([e.first for e in run.epochs], seen.row[used], side="right") - 1
    of, loss = seen.of[used], seen.loss[used]
    rank = _ranks(epoch, loss)
    turn, many = _turns(of)
    late = turn >= many[of] // 2
    tries = np.bincount(of[late], minlength=len(seen.names))
    lowest = np.full(len(seen.names), np.inf)
    np.minimum.at(lowest, of[late], rank[late])
    asked = tries >= least
    if asked.sum() < 20:
        return None, f"of too few samples {least} later losses or more were read"
    expected = float((top ** tries[asked]).sum())
    high = np.flatnonzero(asked & (lowest >= 1 - top))
    enough = len(high) > more * max(expected, 0.3)
    mean = np.bincount(of, weights=loss, minlength=len(seen.names)) / np.maximum(many, 1)
    high = high[np.argsort(-mean[high], kind="stable")] if enough else high[:0]
    ranks = np.bincount(of, weights=rank, minlength=len(seen.names)) / np.maximum(many, 1)
    first, last = np.zeros(len(seen.names)), np.zeros(len(seen.names))
    last[of] = loss
    first[of[::-1]] = loss[::-1]
    out = {
        "count": len(high),
        "of": int(asked.sum()),
        "by_chance": expected,
        "samples": [
            {
                "id": int(seen.names[k]),
                "losses": int(many[k]),
                "rank": float(ranks[k]),
                "first": float(first[k]),
                "last": float(last[k]),
            }
            for k in high[:named].tolist()
        ],
    }
    part = f"the highest {percent(top)} of their epoch at each later visit"
    if not len(high):
        return out, f"No more samples than chance makes so stay among {part}, of {plural(int(asked.sum()), 'sample')}."
    ids = some(seen.names[high[:named]].tolist(), named) + (f" and {len(high) - named:,} more" if len(high) > named else "")
    chance = number(expected, 2) if expected >= 0.1 else "none"
    return out, f"{len(high):,} of {plural(int(asked.sum()), 'sample')} stay among {part} ({chance} by chance): {ids}."


def by_exposures(run: Run, seen: Visits, *, most: int = 12) -> Found:
    """Mean loss by how often a sample was seen before; and whether, within a batch, those seen more often lose less.

    The means mix the sample's exposures with the time that all of them share. Only batches whose samples were seen unequally
    often tell the two apart, as where the data is drawn with replacement.
    """
    used = np.isfinite(seen.loss) & by_turn(run)[seen.row]
    if not used.any():
        return None, "no loss of a sample was read"
    turn, loss = seen.turn[used], seen.loss[used]
    count = np.bincount(turn)
    total = np.bincount(turn, weights=loss)
    shown = np.flatnonzero(count)[:most]
    out: dict[str, Any] = {
        "names": ["seen", "losses", "loss"],
        "columns": [shown.tolist(), count[shown].tolist(), (total[shown] / count[shown]).tolist()],
    }
    slope = _slope(turn.astype(np.float64), loss, [seen.row[used]])
    out |= {"slope": slope.value if slope else None, "p": slope.p if slope else None}
    means = [number(value, 3) for value in (total[shown] / count[shown])[:5]]
    text = f"The mean loss of a sample by visits: {', '.join(means)}{', ...' if len(shown) > 5 else ''}"
    if slope is None:
        return out, f"{text}; the samples of a batch were seen equally often, so this cannot be told from the progress of all."
    return out, f"{text}; within a batch it moves by {signed(slope.value)} with each earlier visit ({p_value(slope.p)})."


def by_gap(run: Run, seen: Visits) -> Found:
    """How the loss of a sample goes with how long ago it was seen, against others of its batch and itself at other times."""
    if _with_gap(run, seen).sum() < 100:
        return None, "too few losses of samples that came before were read"
    slope = slope_by_gap(run, seen)
    if slope is None:
        return None, "too few losses of the same samples were read, or all were last seen equally long ago"
    out = {"slope": slope.value, "p": slope.p, "losses": slope.count}
    size = f"{signed(slope.value)} for each epoch since it was last seen ({p_value(slope.p)})"
    if slope.p >= 0.01:
        return out, f"The loss of a sample does not go with how long ago it was seen: {size}."
    return out, f"The loss of a sample {'grows' if slope.value > 0 else 'falls'} by {size}."


@dataclass(frozen=True)
class Slope:
    """A slope with its standard error, the two-sided p that it is 0, and how many losses it rests on."""

    value: float
    error: float
    p: float
    count: int


def slope_by_gap(run: Run, seen: Visits, *, least: int = 100) -> Slope | None:
    """Change of a sample's loss for each epoch since it was last seen; None with fewer than `least` losses of such samples."""
    used = _with_gap(run, seen)
    length = float(np.median([len(e) for e in run.epochs])) if run.epochs else 1.0
    if used.sum() < least:
        return None
    return _slope(seen.before[used] / length, seen.loss[used], [seen.row[used], seen.of[used]])


def _with_gap(run: Run, seen: Visits) -> NDArray[np.bool_]:
    """Visits of samples that came before, with a loss that was read in turn."""
    return np.isfinite(seen.loss) & by_turn(run)[seen.row] & (seen.before > 0)


def _slope(x: Floats, y: Floats, within: list[NDArray[np.int64]], *, rounds: int = 3) -> Slope | None:
    """Slope of y on x after the means of each grouping are taken out of both; None where x does not vary within them.

    Two groupings are taken out in turns, which is exact in the limit; each group costs one degree of freedom.
    """
    if not len(x):
        return None
    groups = [np.unique(g, return_inverse=True)[1].astype(np.int64) for g in within]
    first = x
    for _ in range(rounds if len(groups) > 1 else 1):
        for group in groups:
            x, y = x - group_mean(group, x), y - group_mean(group, y)
    square = float((x**2).sum())
    free = len(x) - sum(int(group.max()) + 1 for group in groups) - 1
    if free < 10 or square <= 1e-9 * max(float((first**2).sum()), 1e-300):
        return None
    value = float((x * y).sum()) / square
    left = float(((y - value * x) ** 2).sum())
    error = float(np.sqrt(left / free / square))
    if not math.isfinite(value) or not math.isfinite(error):
        return None
    return Slope(value, error, float(2 * t_sf(abs(value) / error, free)) if error > 0 else 0.0, len(x))


def _ranks(group: NDArray[np.int64], values: Floats) -> Floats:
    """Part of its group that lies below each value, from 0 to nearly 1."""
    order = np.lexsort((values, group))
    start = np.searchsorted(group[order], group[order], side="left")
    size = np.bincount(group)[group[order]]
    rank = np.empty(len(values))
    rank[order] = (np.arange(len(values)) - start) / size
    return rank


def _turns(of: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many entries of the same number stand before each, and how many there are of each number."""
    order = np.argsort(of, kind="stable")
    many = np.bincount(of)
    turn = np.empty(len(of), dtype=np.int64)
    turn[order] = np.arange(len(of)) - np.repeat(np.cumsum(many) - many, many)
    return turn, many
