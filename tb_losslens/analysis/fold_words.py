"""What there is to see in a folded run, in a sentence: a slope within the epoch, and positions that repeat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.fold import Fold
from tb_losslens.analysis.stats import Floats, sign_test
from tb_losslens.analysis.text import number, plural, sentences, signed

_LEAST = 8
"""Positions from which on their order can be compared."""
_MOST = 0.8


@dataclass(frozen=True)
class Stripes:
    """How alike the epochs are by position: mean correlation of two epochs, and how many of its own sd that is from 0."""

    correlation: float
    z: float


def stripes(deviations: Floats) -> Stripes | None:
    """Compares all pairs of epochs, each less its own straight line; None for fewer than 3 epochs or 8 positions.

    The sum of all normalised epochs has the square |sum|^2 = E + E (E - 1) r, which gives the mean correlation r of pairs
    without forming them. Of noise r has the sd sqrt(2 / (E (E - 1) P)), P the positions that are as good as independent: a
    loss that is a moving mean has few of them, and two such epochs are alike by chance.

    Args:
        deviations: shape (epochs, positions); columns with an unknown cell are left out.
    """
    whole = deviations[:, np.isfinite(deviations).all(axis=0)]
    epochs, positions = whole.shape
    if epochs < 3 or positions < _LEAST:
        return None
    whole = whole / (float(np.abs(whole).max()) or 1.0)  # the square of a loss that diverged may be no number
    line = np.stack([np.ones(positions), np.linspace(-1.0, 1.0, positions)])
    fit = whole @ line.T @ np.linalg.inv(line @ line.T)
    rest = whole - fit @ line
    size = np.sqrt((rest**2).sum(axis=1))
    fine = size > 1e-12
    if np.count_nonzero(fine) < 3:
        return None
    unit = rest[fine] / size[fine, None]
    n = len(unit)
    r = (float((unit.sum(axis=0) ** 2).sum()) - n) / (n * (n - 1))
    return Stripes(r, r / math.sqrt(2.0 / (n * (n - 1) * _independent(unit))))


def _independent(unit: Floats) -> float:
    """As how many independent positions the rows count, each of length 1: P over the sum of squared autocorrelations."""
    positions = unit.shape[1]
    power = np.abs(np.fft.rfft(unit, 2 * positions, axis=1)) ** 2
    alike = np.fft.irfft(power.mean(axis=0))[:positions]  # at lags 0, 1, ...; 1 at the first
    squares = float((alike[1:] ** 2).sum())
    return float(max(1.0, (positions - 2) / (1.0 + 2.0 * squares)))


def slopes(deviations: Floats) -> Floats:
    """Mean of the last quarter of each epoch less that of its first; shape (epochs,)."""
    quarter = max(1, deviations.shape[1] // 4)
    return _level(deviations[:, -quarter:]) - _level(deviations[:, :quarter])


def said(folded: Fold, *, sure: float = 0.01, alike: float = 0.1, far: float = 5.0) -> str:
    """One or two sentences on what the picture shows; facts of the picture, and no verdict.

    Args:
        folded: of any run.
        sure: a slope is told where chance gives as many epochs that go one way less often than this.
        alike: positions repeat where two epochs correlate at least this much,
        far: and at least this many of its own standard deviations.
    """
    if not folded.epochs:
        return "No epoch is known here."
    deviations = folded.deviations
    if len(deviations) < 3:
        return f"{plural(len(deviations), 'whole epoch')} so far; from three on they can be compared."
    if not np.isfinite(deviations).any():
        return "No loss is known in any whole epoch."
    return sentences([_slope(folded, sure), _stripes(deviations, alike, far)])


def _slope(folded: Fold, sure: float) -> str:
    each = slopes(folded.deviations)
    each = each[np.isfinite(each)]
    if 2.0 ** (1 - len(each)) >= sure:  # if all of them went one way, chance would do the same too often
        return f"{plural(len(each), 'whole epoch')} with a loss are too few to tell a slope within an epoch"
    up, down, p = sign_test(each)
    if p >= sure:
        return "Within an epoch the loss has no slope that most epochs share"
    middle = float(np.median(each))
    way, of = ("rises", up) if middle > 0 else ("falls", down)
    tail = ", and starts low again in the next: a sawtooth" if middle > 0 and _drops(folded, middle) else ""
    epochs = f"in {of} of {len(each):,} epochs, median {signed(middle)}"
    return f"Within an epoch the loss {way} from its first to its last quarter, {epochs}{tail}"


def _drops(folded: Fold, rise: float) -> bool:
    """True if most epochs begin lower than the one before ended, by half of what the loss rises within one or more."""
    quarter = max(1, folded.cells.shape[1] // 4)
    both = folded.whole[1:] & folded.whole[:-1]
    begin, end = (_level(folded.cells[:, part]) for part in (slice(None, quarter), slice(-quarter, None)))
    step = (begin[1:] - end[:-1])[both]
    step = step[np.isfinite(step)]
    return len(step) > 0 and float(np.median(step)) <= -0.5 * rise and float((step < 0).mean()) >= _MOST


def _level(cells: Floats) -> Floats:
    """Mean of the finite cells of each row, NaN where there is none."""
    known = np.isfinite(cells)
    count = known.sum(axis=1)
    out: Floats = np.divide(np.where(known, cells, 0.0).sum(axis=1), count, out=np.full(len(count), np.nan), where=count > 0)
    return out


def _stripes(deviations: Floats, alike: float, far: float) -> str:
    found = stripes(deviations)
    if found is None:
        if np.isfinite(deviations).all(axis=0).sum() < _LEAST:
            return "Too few positions are known in each epoch to tell whether they repeat"
        return "The loss is a straight line within nearly all epochs, so that no position can stand out"
    correlation = number(found.correlation, 2)
    if found.correlation < alike:
        return f"No position stands out: two epochs are as different as chance makes them (correlation {correlation})"
    if found.z < far:
        by_chance = f"so few epochs, and so smooth, are as alike by chance (correlation {correlation})"
        return f"Whether positions repeat cannot be told: {by_chance}"
    return (
        f"Upright stripes: the same positions are high and low in each epoch (correlation of two epochs {correlation}), as "
        "with an order of samples that repeats, sorted data, or something that starts anew with each epoch"
    )
