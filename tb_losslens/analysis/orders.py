"""In what order the samples of each epoch came, and whether an order came twice: equalities, no statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.whole import unbroken_start
from tb_losslens.store.run import Epoch, Run


@dataclass(frozen=True)
class Repeats:
    """Which epochs came in an order that was there before.

    Attributes:
        compared: pairs of neighbouring epochs whose orders are known.
        again: positions (in `run.epochs`) of epochs in the order of the epoch before.
        later: positions of epochs in the order of some earlier epoch that is not the one before.
        trivial: why an equal order would mean nothing, or "".
    """

    compared: int
    again: tuple[int, ...]
    later: tuple[int, ...]
    trivial: str = ""


def repeats(run: Run, *, least_samples: int = 10) -> Repeats:
    """Compares hashes; where an epoch was left early, its sample ids over the part that both have.

    With fewer than `least_samples` samples, or one batch an epoch, chance or a single batch makes orders equal.
    """
    epochs = run.epochs
    keys = [order_key(epoch) for epoch in epochs]
    again: list[int] = []
    compared = 0
    with_ids = "sample_ids" in run.ragged
    for k in range(1, len(epochs)):
        if not with_ids and (keys[k - 1] is None or keys[k] is None):
            continue
        equal = _equal(run, epochs[k - 1], epochs[k], keys[k - 1], keys[k])
        if equal is None:
            continue
        compared += 1
        if equal:
            again.append(k)
    first: dict[str, int] = {}
    later = []
    for k, key in enumerate(keys):
        if key is None:
            continue
        if key in first and k not in again:
            later.append(k)
        first.setdefault(key, k)
    return Repeats(compared, tuple(again), tuple(later), _trivial(run, epochs, least_samples))


def order_key(epoch: Epoch) -> str | None:
    """Digest of the order of an epoch, None if unknown or if the epoch was left early."""
    key = epoch.fields.get("order_hash")
    return str(key) if key and epoch.fields.get("complete", True) is not False else None


def _equal(run: Run, a: Epoch, b: Epoch, key_a: str | None, key_b: str | None) -> bool | None:
    if key_a is not None and key_b is not None:
        return key_a == key_b
    left, right = ids_of(run, a), ids_of(run, b)
    both = min(len(left), len(right))
    # a few samples of an epoch that was left at once prove nothing
    return bool(np.array_equal(left[:both], right[:both])) if both >= 10 else None


def ids_of(run: Run, epoch: Epoch) -> NDArray[np.int64]:
    """Sample ids of an epoch in their order, up to where batches are missing; empty where they are not known for each one."""
    ragged = run.ragged.get("sample_ids")
    last = unbroken_start(run, epoch)
    if ragged is None or len(ragged) < last or last == epoch.first:
        return np.empty(0, dtype=np.int64)
    counts = np.diff(ragged.offsets[epoch.first : last + 1])
    if (counts == 0).any():
        return np.empty(0, dtype=np.int64)
    out: NDArray[np.int64] = ragged.values[ragged.offsets[epoch.first] : ragged.offsets[last]].astype(np.int64)
    return out


def batch_of_ids(run: Run, epoch: Epoch) -> NDArray[np.int64]:
    """The row of the batch that each of `ids_of` came in, same shape."""
    if not len(ids_of(run, epoch)):
        return np.empty(0, dtype=np.int64)
    rows = np.arange(epoch.first, unbroken_start(run, epoch), dtype=np.int64)
    return np.repeat(rows, np.diff(run.ragged["sample_ids"].offsets[epoch.first : rows[-1] + 2]))


def ids_in(run: Run, first: int, last: int, *, most: int = 4096) -> list[int]:
    """Sample ids of the rows `first <= row < last`, in order, without repeats; empty where they are not known."""
    ragged = run.ragged.get("sample_ids")
    if ragged is None or len(ragged) < last:
        return []
    values = ragged.values[ragged.offsets[first] : ragged.offsets[last]]
    return list(dict.fromkeys(int(value) for value in values[:most]))


def recurring_ids(run: Run, rows: NDArray[np.int64], *, least_epochs: int, most_left: float = 0.2) -> list[int]:
    """The fewest sample ids that account for `rows`, each in `least_epochs` epochs or more; sorted, empty if there are none.

    Greedy set cover: the id that is in most of the rows, then the one in most of those left, and so on. Ids that are always
    in the same rows (as under a fixed order) cannot be told apart and come together. Where more than `most_left` of the rows
    are left over, some id was in a few of them by chance, and none is given.
    """
    if not len(rows) or "sample_ids" not in run.ragged:
        return []
    first = np.array([epoch.first for epoch in run.epochs], dtype=np.int64)
    places = (np.searchsorted(first, rows, side="right") - 1).tolist()
    epoch_of = {row: k for row, k in zip(rows.tolist(), places, strict=True) if k >= 0 and row < run.epochs[k].last}
    where: dict[int, set[int]] = {}
    for row in epoch_of:
        for sample in ids_in(run, row, row + 1):
            where.setdefault(sample, set()).add(row)
    found: list[int] = []
    left = set(epoch_of)
    while left:
        best = max((held & left for held in where.values()), key=len, default=set())
        if len({epoch_of[row] for row in best}) < least_epochs:
            break
        found += [sample for sample, held in where.items() if held & left == best]
        left -= best
    return sorted(found) if len(left) <= most_left * len(epoch_of) else []


def samples_behind(run: Run, rows: NDArray[np.int64], *, most: int = 100) -> int:
    """The fewest samples that account for `rows`, 1 or more (greedy set cover); as many as rows where ids are not known.

    Of more rows, `most` are asked, evenly over them: whether few samples are behind them shows there.
    """
    rows = rows[:: -(-len(rows) // most)] if len(rows) > most else rows
    where: dict[int, set[int]] = {}
    for row in rows.tolist():
        for sample in ids_in(run, row, row + 1):
            where.setdefault(sample, set()).add(row)
    left, count = set(rows.tolist()), 0
    while left:
        best = max((held & left for held in where.values()), key=len, default=set())
        if not best:
            return max(1, count + len(left))
        left -= best
        count += 1
    return max(1, count)


def _most_samples(run: Run, epochs: Sequence[Epoch]) -> int:
    """Samples of the largest epoch, 0 if unknown; in one pass, for runs of a million epochs."""
    if not epochs:
        return 0
    size = run.float("batch_size")
    size = np.concatenate([[0.0], np.cumsum(np.where(np.isfinite(size), size, 0.0))])
    bounds = np.array([(epoch.first, epoch.last) for epoch in epochs], dtype=np.int64)
    most = int((size[bounds[:, 1]] - size[bounds[:, 0]]).max())
    return most or (max(len(ids_of(run, epoch)) for epoch in epochs) if "sample_ids" in run.ragged else 0)


def _trivial(run: Run, epochs: Sequence[Epoch], least_samples: int) -> str:
    lengths = [len(epoch) for epoch in epochs]
    if lengths and max(lengths) == 1:
        return "each epoch is a single batch, so its order cannot matter"
    samples = _most_samples(run, epochs)
    if 0 < samples < least_samples:
        chance = 1 / math.factorial(samples)
        return f"an epoch has {samples} samples: two orders are equal by chance once in {round(1 / chance):,} times"
    return ""


def loader_of(run: Run, epochs: Sequence[Epoch] | None = None) -> dict[str, object]:
    """What is known of the training loader: of the last of `epochs` (by default all) that says it, else of the run."""
    for epoch in reversed(run.epochs if epochs is None else epochs):
        facts = epoch.fields.get("loader")
        if isinstance(facts, dict):
            return dict(facts)
    return {name: run.facts[name] for name in ("shuffle", "dataset_size", "batch_size") if name in run.facts}


def may_carry_state(run: Run) -> bool:
    """True where batches may be meant to follow each other: a watched model that is recurrent, or that is given tokens."""
    model = run.facts.get("model")
    if not isinstance(model, dict):
        return False
    return bool(model.get("recurrent")) or not run.has("input_mean")
