"""What there is to see in a folded run, in a sentence: a slope within the epoch, and positions that repeat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.fold import Fold
from tb_losslens.analysis.stats import Floats, sign_test
from tb_losslens.analysis.text import number, plural, sentences, signed


@dataclass(frozen=True)
class Stripes:
    """How alike the epochs are by position: mean correlation of two epochs, and how many of its own sd that is from 0."""

    correlation: float
    z: float


def stripes(deviations: Floats) -> Stripes | None:
    """Compares all pairs of epochs, each less its own straight line; None for fewer than 3 epochs or 8 positions.

    The sum of all normalised epochs has the square |sum|^2 = E + E (E - 1) r, which gives the mean correlation r of pairs
    without forming them. Of noise r has the sd sqrt(2 / (E (E - 1) P)).

    Args:
        deviations: shape (epochs, positions); columns with an unknown cell are left out.
    """
    whole = deviations[:, np.isfinite(deviations).all(axis=0)]
    epochs, positions = whole.shape
    if epochs < 3 or positions < 8:
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
    return Stripes(r, r / math.sqrt(2.0 / (n * (n - 1) * (positions - 2))))


def slopes(deviations: Floats) -> Floats:
    """Mean of the last quarter of each epoch less that of its first; shape (epochs,)."""
    quarter = max(1, deviations.shape[1] // 4)
    known = np.isfinite(deviations)

    def level(part: slice) -> Floats:
        count = known[:, part].sum(axis=1)
        total = np.where(known, deviations, 0.0)[:, part].sum(axis=1)
        out: Floats = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return out

    return level(slice(-quarter, None)) - level(slice(None, quarter))


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
    return sentences([_slope(deviations, sure), _stripes(deviations, alike, far)])


def _slope(deviations: Floats, sure: float) -> str:
    each = slopes(deviations)
    each = each[np.isfinite(each)]
    up, down, p = sign_test(each)
    if p >= sure:
        return "Within an epoch the loss has no slope that most epochs share"
    middle = float(np.median(each))
    way, of = ("rises", up) if middle > 0 else ("falls", down)
    tail = ", and starts low again in the next: a sawtooth" if middle > 0 else ""
    epochs = f"in {of} of {len(each)} epochs, median {signed(middle)}"
    return f"Within an epoch the loss {way} from its first to its last quarter, {epochs}{tail}"


def _stripes(deviations: Floats, alike: float, far: float) -> str:
    found = stripes(deviations)
    if found is None:
        return "Too few positions are known in each epoch to tell whether they repeat"
    correlation = number(found.correlation, 2)
    if found.correlation < alike or found.z < far:
        return f"No position stands out: two epochs are as different as chance makes them (correlation {correlation})"
    return (
        f"Upright stripes: the same positions are high and low in each epoch (correlation of two epochs {correlation}), as "
        "with an order of samples that repeats, sorted data, or something that starts anew with each epoch"
    )
