"""Equalities that prove that the inputs changed: samples that came back different, and what is done to them on the way.

A sample that came back equal in every epoch and comes back different in one was changed in between. A random augmentation
changes samples in each epoch: that proves nothing, but its first or last epoch does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Epoch, Run

EQUAL, AFFINE, BY_SAMPLE, BY_CHANNEL = range(4)
"""Codes of the column `input_relation`; any other is "other"."""


@dataclass(frozen=True)
class Proof:
    """The inputs changed at one of the boundaries `between` (indices, in order).

    Attributes:
        between: where; several where epochs between were not read.
        detail: what the change is called, "" where the proof does not tell.
        evidence: what is equal and what is not.
        on_the_way: true if it happened between the loader and the model.
        lasting: true if the samples came back equal again after it: all of them were changed once, and alike each time.
        other: whether before it and after it the model is given what is no scale and offset of the loader's batch.
    """

    between: tuple[int, ...]
    detail: str
    evidence: Evidence
    on_the_way: bool = False
    lasting: bool = False
    other: tuple[bool, bool] = (False, False)


def proofs(run: Run, epochs: Sequence[Epoch], *, most: int = 3) -> list[Proof]:
    """Those of the samples, then those of the way to the model; more than `most` of a kind are no change for good."""
    kinds = (by_fingerprints(epochs), by_relation(run, epochs))
    return [proof for kind in kinds if len(kind) <= most for proof in kind]


def by_fingerprints(
    epochs: Sequence[Epoch], *, many: float = 0.2, few: float = 0.05, least: int = 10, steady: float = 0.8
) -> list[Proof]:
    """Epochs in which samples came back different, after or before epochs in which they came back equal.

    Args:
        epochs: the passes; fields `inputs_compared` and `inputs_changed` count samples against the last time they were read.
        many: part of the samples that makes a change.
        few: part that may be different where they "came back equal": samples that `drop_last` left out come back later.
        least: samples that must have been compared.
        steady: a random augmentation changes as large a part in each epoch. A process that sees a part of the samples (one
            of several under `DistributedSampler`) meets the others later: then the part falls from epoch to epoch.
    """
    read = []
    for k, epoch in enumerate(epochs):
        if not epoch.fields:
            continue
        compared, changed = epoch.fields.get("inputs_compared"), epoch.fields.get("inputs_changed")
        if isinstance(compared, int) and isinstance(changed, int) and compared >= least:
            read.append((k, compared, changed))
    part = [changed / compared for _, compared, changed in read]
    out: list[Proof] = []
    i = 0
    while i < len(read):
        if part[i] < many:
            i += 1
            continue
        j = i
        while j + 1 < len(read) and part[j + 1] >= many:
            j += 1
        calm_before, calm_after = i > 0 and part[i - 1] <= few, j + 1 < len(read) and part[j + 1] <= few
        again = j > i and part[j] >= steady * part[i]
        if calm_before or (i == j and calm_after):
            later = read[i + 1 :]
            out.append(_came_back(read, i, calm_before=calm_before, random=again, known=bool(later)))
        if calm_after and again:
            out.append(_stopped(read, j))
        i = j + 1
    return out


def _between(read: list[tuple[int, int, int]], i: int) -> tuple[int, ...]:
    """Boundaries since the pass that was read before; the first pass is always read."""
    return tuple(range(read[i - 1][0] if i else 0, read[i][0]))


def _came_back(read: list[tuple[int, int, int]], i: int, *, calm_before: bool, random: bool, known: bool) -> Proof:
    """The words count boundaries: a new process counts its epochs from 0 again."""
    k, compared, changed = read[i]
    all_or_some = f"all {changed:,}" if changed == compared else f"{changed:,} of {compared:,}"
    said = f"{all_or_some} samples that were compared came back with another input after boundary {k}"
    before = sum(number for _, number, _ in read[:i])
    if calm_before:
        said += f"; before, {percent(1 - sum(c for *_, c in read[:i]) / before)} of {before:,} came back equal"
    if random:
        return Proof(_between(read, i), "augmentation", Evidence(f"{said}, and since then they differ in each pass"))
    lasting = known and i + 1 < len(read) and not read[i + 1][2]
    after = "; after that they came back equal again" if lasting else ""
    return Proof(_between(read, i), "", Evidence(said + after), lasting=lasting)


def _stopped(read: list[tuple[int, int, int]], j: int) -> Proof:
    said = f"samples came back with another input each time up to boundary {read[j][0] + 1}, and equal since then"
    return Proof(_between(read, j), "augmentation", Evidence(said))


@dataclass(frozen=True)
class _Way:
    """What is done on the way to the model in an epoch: code of the column, its numbers where they are the same throughout.

    `spread` is that of what the model gets, NaN where it was not recorded.
    """

    epoch: int
    rows: int
    code: int
    slope: float
    offset: float
    spread: float

    @property
    def fixed(self) -> bool:
        return self.code == EQUAL or (self.code in (AFFINE, BY_CHANNEL) and math.isfinite(self.slope))

    def like(self, other: _Way, tolerance: float = 1e-3) -> bool:
        if self.code != other.code or self.fixed != other.fixed:
            return False
        if self.code == EQUAL or not self.fixed:
            return True
        scale = tolerance * max(abs(self.slope), abs(self.offset), 1e-30)
        return abs(self.slope - other.slope) <= scale and abs(self.offset - other.offset) <= scale

    def words(self) -> str:
        if self.code == EQUAL:
            return "what the loader gives"
        if self.code == AFFINE and self.fixed:
            return f"{mapped(self.slope, self.offset)} of the loader's x"
        if self.code == AFFINE:
            return "the loader's batch, scaled by another factor each time"
        kind = {BY_SAMPLE: "scaled by sample", BY_CHANNEL: "scaled by channel"}
        return f"the loader's batch, {kind.get(self.code, 'changed in another way than by a scale')}"


def by_relation(run: Run, epochs: Sequence[Epoch], *, least: int = 8, tolerance: float = 1e-3) -> list[Proof]:
    """Changes of what is done to a batch between loader and model, each the same in every batch read before and after it.

    Args:
        run: the run.
        epochs: its passes.
        least: batches that must have been compared on either side.
        tolerance: a slope that is the same in all batches of an epoch varies by no more than this part.
    """
    ways = _ways(run, epochs, tolerance)
    stretches: list[list[_Way]] = []
    for way in ways:
        if stretches and way.like(stretches[-1][-1]):
            stretches[-1].append(way)
        else:
            stretches.append([way])
    out = []
    for left, right in pairwise(stretches):
        a, b = left[-1], right[0]
        rows = (sum(way.rows for way in left), sum(way.rows for way in right))
        if min(rows) < least or a.code < 0 or b.code < 0:
            continue
        until, since = f"up to boundary {a.epoch + 1} the model is given {a.words()}", f"from boundary {b.epoch} on"
        said = f"{until}, {since} {b.words()} ({plural(rows[0], 'batch')} before, {rows[1]:,} after, no exception)"
        random = any(way.code in (AFFINE, BY_SAMPLE) and not way.fixed for way in (a, b))
        detail = "normalization" if a.fixed and b.fixed else "augmentation" if random else ""
        other = (a.code > BY_CHANNEL, b.code > BY_CHANNEL)
        between = tuple(range(a.epoch, b.epoch))
        out.append(Proof(between, detail, Evidence(said, "input_relation"), on_the_way=True, other=other))
    return out


def mapped(slope: float, offset: float, digits: int = 3) -> str:
    """`slope x + offset` in words, without what does nothing."""
    parts = "x" if slope == 1 else f"{number(slope, digits)} x"
    return parts if offset == 0 else f"{parts} {'-' if offset < 0 else '+'} {number(abs(offset), digits)}"


def exact_map(run: Run, epochs: Sequence[Epoch], k: int, tolerance: float = 1e-3) -> tuple[float, float] | None:
    """(factor, offset) that boundary k puts on what the model gets, None where that was not read or is no single map."""
    sides = {way.epoch: way for way in _ways(run, epochs, tolerance)}
    left = next((sides[j] for j in range(k, -1, -1) if j in sides), None)
    right = next((sides[j] for j in range(k + 1, len(epochs)) if j in sides), None)
    if (
        left is None
        or right is None
        or not all(way.code == EQUAL or (way.code == AFFINE and way.fixed) for way in (left, right))
    ):
        return None
    (a, b), (c, d) = ((1.0, 0.0) if way.code == EQUAL else (way.slope, way.offset) for way in (left, right))
    if a == 0 or c == 0 or (a, b) == (c, d):  # equal: what changed lies in the loader or before it
        return None
    return c / a, _beyond_rounding(d - c / a * b, right.spread, tolerance)


def _beyond_rounding(offset: float, spread: float, tolerance: float) -> float:
    """The offset, 0 where it is less than `tolerance` of the spread of the inputs: that is what rounding leaves of none."""
    return 0.0 if abs(offset) <= tolerance * spread else offset


def _ways(run: Run, epochs: Sequence[Epoch], tolerance: float) -> list[_Way]:
    """One for each epoch of which batches were compared; code -1 where they were not treated alike."""
    code, slope, offset, wide = (run.float(name) for name in ("input_relation", "input_slope", "input_offset", "input_std"))
    out: list[_Way] = []
    if not np.isfinite(code).any():
        return out
    for k, epoch in enumerate(epochs):
        rows = slice(epoch.first, epoch.last)
        known = np.isfinite(code[rows])
        if not known.any():
            continue
        codes = code[rows][known]
        same = bool((codes == codes[0]).all())
        a, b = (float(np.median(values[rows][known])) for values in (slope, offset))
        scale = tolerance * max(abs(a), abs(b), 1e-30)
        still = bool((np.abs(slope[rows][known] - a) <= scale).all() and (np.abs(offset[rows][known] - b) <= scale).all())
        spread = median(wide[rows])
        line = (a, _beyond_rounding(b, spread, tolerance)) if still else (math.nan, math.nan)
        out.append(_Way(k, int(known.sum()), int(codes[0]) if same else -1, *line, spread))
    return out
