"""Equalities that prove that targets changed: samples that came back with another one, and counts of the same samples.

A sample whose target came back equal in every epoch and is another one in the next was changed in between. Targets that are
drawn anew in each epoch change each time, which proves nothing; but the first and the last such epoch do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.known import is_known
from tb_losslens.analysis.mix import class_totals
from tb_losslens.analysis.text import percent, plural, some
from tb_losslens.analysis.whole import is_compared_in_part, is_whole
from tb_losslens.store.run import Epoch, Run

LASTING, ONE_EPOCH = "lasting", "one_epoch"


@dataclass(frozen=True)
class _Read:
    """What came back in a pass: its place in the run, samples compared and changed, (id, label before, label now) of some.

    `in_part`: only a part of the samples was compared, and another one in the next pass.
    """

    at: int
    compared: int
    changed: int
    told: list[tuple[int, int, int]]
    in_part: bool = False

    @property
    def part(self) -> float:
        return self.changed / self.compared


def target_proofs(run: Run, epochs: Sequence[Epoch], *, most: int = 3) -> list[Proof]:
    """Those of single samples, then those of counts at other boundaries; more than `most` are no change for good."""
    known = by_samples(epochs)
    taken = {k for proof in known for k in _all_of(proof)}
    known += [proof for proof in by_counts(run, epochs) if not taken & set(_all_of(proof))]
    return known if len(known) <= most else []


def _all_of(proof: Proof) -> tuple[int, ...]:
    return (*proof.between, proof.between[-1] + 1) if proof.detail == ONE_EPOCH else proof.between


def by_samples(
    epochs: Sequence[Epoch], *, many: float = 0.02, calm: float = 0.1, least: int = 10, steady: float = 0.8
) -> list[Proof]:
    """Passes in which samples came back with other targets, beside passes in which they came back with the same.

    Args:
        epochs: the passes; fields `targets_compared` and `targets_changed` count samples against the last time they were read.
        many: part of the samples that makes a change.
        calm: part of those that may change in the passes beside it: samples that `drop_last` left out come back later.
        least: samples that must have been compared.
        steady: targets that are drawn anew change in as large a part each time. A process that sees a part of the samples (one
            of several under `DistributedSampler`) meets the others later: then the part falls from pass to pass.
    """
    read = [one for k, epoch in enumerate(epochs) if (one := _read(k, epoch, least)) is not None]
    out: list[Proof] = []
    i = 0
    while i < len(read):
        if read[i].part < many:
            i += 1
            continue
        j, quiet = i, calm * read[i].part
        while j + 1 < len(read) and read[j + 1].part >= max(quiet, many * calm):
            j += 1
        calm_before = i > 0 and read[i - 1].part <= quiet
        calm_after = j + 1 < len(read)
        falls = read[j].part < steady * read[i].part
        if j == i + 1 and calm_after and not falls and _came_back(read[i], read[j], sure=calm_before):
            out.append(_proof(read, i, ONE_EPOCH, "; one epoch later they had their old targets again"))
        elif (i == j and (calm_before or (calm_after and not i))) or (calm_before and falls):
            out.append(_proof(read, i, LASTING, "" if i == j and not calm_after else "; these came back the same since then"))
        elif calm_before:
            out.append(_proof(read, i, LASTING, ", and since then they differ in each pass"))
        elif calm_after and i < j and not falls:
            said = f"targets came back different each time up to boundary {read[j].at}, and the same since then"
            out.append(Proof(_between(read, j), LASTING, Evidence(said), lasting=True))
        i = j + 1
    return out


def _read(k: int, epoch: Epoch, least: int) -> _Read | None:
    compared, changed = (epoch.fields.get(name) for name in ("targets_compared", "targets_changed"))
    if not isinstance(compared, int) or not isinstance(changed, int) or compared < least:
        return None
    told = epoch.fields.get("target_changes")
    listed = told if isinstance(told, list | tuple) else ()
    labels = [(one[0], one[1], one[2]) for one in listed if isinstance(one, list | tuple) and len(one) == 3]
    return _Read(k, compared, changed, labels, is_compared_in_part(epoch))


def _between(read: list[_Read], i: int) -> tuple[int, ...]:
    """Boundaries since the pass that was read before; the first pass is always read."""
    return tuple(range(read[i - 1].at if i else 0, read[i].at))


def _came_back(
    left: _Read, right: _Read, *, sure: bool, alike: float = 0.02, least: float = 0.6, most: float = 0.2, few: float = 0.75
) -> bool:
    """True if what changed in one pass was undone in the next: as many samples, and no label pair says otherwise.

    Args:
        left: the first pass of the two.
        right: the next one.
        sure: nothing changed in the pass before; else the labels themselves must say that they were undone.
        alike: the counts differ by no more than this part, for samples that `drop_last` left out.
        least: part of the pairs (label now, label before) of the second pass that are pairs of the first.
        most: with fewer of them it was another change.
        few: pairs for each sample that is told; with more of them the pairs tell nothing.
    """
    if right.at != left.at + 1 or not _as_many(left, right, alike):
        return False
    first = {(before, now) for _, before, now in left.told}
    again = [(now, before) in first for _, before, now in right.told]
    if not first or not again:
        return sure
    part = sum(again) / len(again)
    telling = len(first) <= few * len(left.told)  # where nearly each told sample has a pair of its own, most pairs are not told
    return part >= least or (sure and not (telling and part <= most))


def _as_many(left: _Read, right: _Read, alike: float, *, errors: float = 3.0) -> bool:
    """True if as many samples changed in two passes; if as large a part did, where other samples were compared in each."""
    if not left.in_part and not right.in_part:
        return abs(left.changed - right.changed) <= max(1, alike * left.changed)
    part = (left.changed + right.changed) / (left.compared + right.compared)
    error = math.sqrt(part * (1 - part) * (1 / left.compared + 1 / right.compared))
    return abs(left.part - right.part) <= alike * part + errors * error


def _proof(read: list[_Read], i: int, detail: str, after: str) -> Proof:
    one = read[i]
    count = f"all {one.changed:,}" if one.changed == one.compared else f"{one.changed:,} of {one.compared:,}"
    said = f"{count} samples that were compared came back with another target after boundary {one.at}"
    before = sum(other.compared for other in read[:i])
    if before:
        same = 1 - sum(other.changed for other in read[:i]) / before
        said += f"; before, {percent(same)} of {before:,} came back with the same"
    labels = [f"sample {sample} had label {old}, then {new}" for sample, old, new in one.told]
    named = f" ({'; '.join(labels[:3])})" if labels else ""
    return Proof(_between(read, i), detail, Evidence(said + named + after), lasting=detail == LASTING)


def by_counts(run: Run, epochs: Sequence[Epoch], *, many: float = 0.02) -> list[Proof]:
    """Neighbouring epochs that drew the same samples, each once, and counted other classes: some label changed.

    Only where the classes of every batch were counted. Epochs beside it must have equal counts.

    Args:
        run: the run.
        epochs: its passes; `set_hash` is that of their samples.
        many: part of the samples whose class changed, at least.
    """
    totals = [_totals(run, epoch) for epoch in epochs]
    moved = [_moved(a, b) for a, b in pairwise(totals)]
    out = []
    for k, part in enumerate(moved):
        if part is None or part < many:
            continue
        back = k + 2 < len(totals) and _moved(totals[k], totals[k + 2]) == 0
        before, later = moved[k - 1] if k else None, k + 1 + back
        if before != 0 and (later >= len(moved) or moved[later] != 0):
            continue  # no epoch beside it shows that counts are the same otherwise: drawn anew, or two sets in turn
        if k and back_at(totals, k - 1):
            continue  # the way back
        names = _classes(totals[k], totals[k + 1])
        said = f"epochs {epochs[k].epoch} and {epochs[k + 1].epoch} drew the same sample ids, but counted {names}"
        detail = ONE_EPOCH if back else LASTING
        after_said = "; the epoch after it counted what the one before it did" if back else ""
        first, last = epochs[k].first, epochs[k + 1].last
        out.append(Proof((k,), detail, Evidence(said + after_said, "classes", (first, last)), lasting=not back))
    return out


def back_at(totals: Sequence[tuple[str, dict[int, int]] | None], k: int) -> bool:
    """True if boundary k was a change that the next boundary undid."""
    return bool(_moved(totals[k], totals[k + 1])) and k + 2 < len(totals) and _moved(totals[k], totals[k + 2]) == 0


def _totals(run: Run, epoch: Epoch) -> tuple[str, dict[int, int]] | None:
    """(digest of the set of samples, samples by class), None where not every batch was counted."""
    key = epoch.fields.get("set_hash")
    if not key or not len(epoch) or not run.has("classes") or not is_whole(run, epoch):
        return None
    rows = slice(epoch.first, epoch.last)
    rest = run.float("class_rest")[rows]
    if not is_known(run, "classes")[rows].all() or (rest > 0).any():
        return None
    return str(key), class_totals(run, epoch.first, epoch.last)


def _moved(a: tuple[str, dict[int, int]] | None, b: tuple[str, dict[int, int]] | None) -> float | None:
    """Part of the samples whose class must have changed, None where they are not the same samples."""
    if a is None or b is None or a[0] != b[0] or sum(a[1].values()) != sum(b[1].values()):
        return None
    change = sum(abs(a[1].get(name, 0) - b[1].get(name, 0)) for name in {*a[1], *b[1]})
    return change / 2 / max(1, sum(a[1].values()))


def _classes(a: tuple[str, dict[int, int]] | None, b: tuple[str, dict[int, int]] | None) -> str:
    left, right = (one[1] if one else {} for one in (a, b))
    order = sorted({*left, *right}, key=lambda name: -abs(left.get(name, 0) - right.get(name, 0)))
    changed = [name for name in order if left.get(name, 0) != right.get(name, 0)]
    words = [f"{plural(left.get(n, 0), 'sample')} of class {n}, then {right.get(n, 0):,}" for n in changed[:3]]
    return some(words) + (f" (and {len(changed) - 3} further classes)" if len(changed) > 3 else "")
