"""Samples whose loss is high each time that it was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tb_losslens.store.run import Run


@dataclass(frozen=True)
class HighLosses:
    """Samples by their ids.

    Attributes:
        ids: those whose every loss lies above the level, highest mean first.
        asked: samples that have enough losses.
        least: how many that is.
    """

    ids: tuple[int, ...]
    asked: int
    least: int


def high_losses(run: Run, row: int, level: float, *, least: int = 2, most: int = 4_000_000) -> HighLosses | None:
    """From the losses of single samples from `row` on; None where they were not read, or too few of them.

    Args:
        run: the run.
        row: first batch.
        level: that each loss of a sample must exceed.
        least: losses that a sample must have.
        most: losses that are read for this.
    """
    ids, losses = run.ragged.get("sample_ids"), run.ragged.get("per_sample")
    if ids is None or losses is None or len(ids) != len(run) or len(losses) != len(run):
        return None
    sizes = np.diff(losses.offsets)
    rows = np.flatnonzero((sizes > 0) & (sizes == np.diff(ids.offsets)))
    rows = rows[rows >= row]
    if not len(rows) or sizes[rows].sum() > most:
        return None
    who = np.concatenate([ids[int(k)] for k in rows])
    value = np.concatenate([np.asarray(losses[int(k)], dtype=np.float64) for k in rows])
    names, at = np.unique(who, return_inverse=True)
    count = np.bincount(at)
    above = np.bincount(at, weights=value > level)
    enough = count >= least
    if enough.sum() < 10:
        return None
    chosen = np.flatnonzero(enough & (above == count))
    total = np.bincount(at, weights=np.where(np.isfinite(value), value, 0.0))
    order = chosen[np.argsort(-(total[chosen] / count[chosen]), kind="stable")]
    return HighLosses(tuple(int(names[k]) for k in order), int(enough.sum()), least)
