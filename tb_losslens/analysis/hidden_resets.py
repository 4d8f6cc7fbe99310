"""Where a recurrent state that is carried from batch to batch begins anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.state_inputs import FACT as INPUT_IS_STATE
from tb_losslens.analysis.stats import finite, median, signed_rank_p
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Resets:
    """What the norm of the incoming state tells.

    Attributes:
        at_begin: first batches of an epoch with the state that a run begins with, the first epoch aside.
        kept: first batches of an epoch with another one.
        inside: batches inside epochs with the state that a run begins with.
        validated: those of `inside` right before which a validation ended.
        carried: part of the other batches inside epochs whose state is another one.
        norm: median norm of these.
        zero: the state begins with zeros, and is not merely the same each time or not given.
        memory: batches until the norm is back, the median over all; None where it is not within an epoch.
    """

    at_begin: Rows
    kept: Rows
    inside: Rows
    validated: Rows
    carried: float
    norm: float
    zero: bool
    memory: int | None


def resets(run: Run) -> Resets | None:
    """By equality: a norm of exactly 0, or that of the run's first batch to the last bit, or none between two that are there.

    None where no norm was recorded, or nothing but the first batches of epochs.
    """
    norm = run.float("hidden_norm")
    known = np.isfinite(norm)
    starts = np.array([epoch.first for epoch in run.epochs], dtype=np.int64)
    if not known.any() or not len(starts):
        return None
    anew = (norm == 0) | (norm == norm[0])
    middle = np.flatnonzero(~known[1:-1] & known[2:]) + 1
    anew[middle[known[middle - 1] | np.isin(middle, starts)]] = True  # `hidden=None`: none was given
    first = np.zeros(len(run), dtype=bool)
    first[starts] = True
    rest = (known | anew) & ~first
    if not rest.any():
        return None
    begins = starts[starts > starts[0]]
    inside = np.flatnonzero(anew & rest)
    ends = np.array([event.batch for event in run.events if event.ends_validation], dtype=np.int64)
    level = median(norm[rest & ~anew])
    return Resets(
        at_begin=begins[anew[begins]],
        kept=begins[known[begins] & ~anew[begins]],
        inside=inside,
        validated=inside[np.isin(inside, ends)],
        carried=float((~anew[rest]).mean()),
        norm=level,
        zero=bool((norm[anew & known] == 0).all()) and bool((anew & known).any()),
        memory=_memory(norm, np.flatnonzero(anew), level),
    )


def carries_state(run: Run) -> bool:
    """True if most batches whose incoming state is known have one: their order is kept on purpose.

    Known from its norm, or since what was read as the input is that state.
    """
    if run.facts.get(INPUT_IS_STATE):
        return True
    carried = finite(run.float("hidden_norm"))
    return len(carried) > 0 and bool((carried > 0).mean() > 0.5)


def _memory(norm: np.ndarray[tuple[int], np.dtype[np.float64]], rows: Rows, level: float, *, back: float = 0.9) -> int | None:
    """Batches after a reset until the norm is `back` of its level again, in the middle over all of `rows`."""
    ends = np.append(rows[1:], len(norm))
    waits = []
    for row, end in zip(rows.tolist(), ends.tolist(), strict=True):
        there = np.flatnonzero(norm[row + 1 : end] >= back * level)
        if len(there):
            waits.append(int(there[0]) + 1)
    return int(np.median(waits)) if waits else None


def rises_at(run: Run, rows: Rows, *, before: int = 5, least: int = 8, level: float = 0.01) -> tuple[bool, float]:
    """(the loss of these batches lies above that right before them by a test of ranks, the median of how much).

    Of `least` rows or more, in the second half of the training where there are so many: before anything is remembered nothing
    can be forgotten.
    """
    late = rows[rows >= len(run) // 2]
    chosen = late if len(late) >= least else rows
    loss = run.loss
    moves = finite(np.array([loss[row] - median(loss[max(0, row - before) : row]) for row in chosen.tolist()]))
    size = median(moves)
    return bool(len(moves) >= least and size > 0 and signed_rank_p(moves) < level), size
