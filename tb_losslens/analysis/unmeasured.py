"""Why the jump at a boundary cannot be judged, in a few words: that is not the same as a jump within noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Cuts
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.text import plural
from tb_losslens.analysis.unlogged import unlogged
from tb_losslens.store.run import Run


def short_epochs(cuts: Cuts, *, least: int = 10) -> str:
    """That epochs have fewer batches than `least`; "" where they have not."""
    return f"an epoch has {plural(cuts.length, 'batch')}" if cuts.length < least else ""


def with_reasons(run: Run, cuts: Cuts, boundaries: Sequence[Boundary], reason: str) -> tuple[Boundary, ...]:
    """The boundaries, each that cannot be judged with `unmeasured`; `reason` is why none of the run can be, or "".

    The first of missing batches, short epochs, and what `_why` says.
    """
    hidden = [b for b in boundaries if not math.isfinite(b.z) or (reason and not b.significant)]
    if not hidden:
        return tuple(boundaries)
    gone, short = unlogged(run), short_epochs(cuts)
    broken = _broken(run, cuts, hidden)
    words = {
        b.index: "batches are missing beside it" if lost else short or _why(run, cuts, b, gone)
        for b, lost in zip(hidden, broken.tolist(), strict=True)
    }
    return tuple(b.because(words[b.index]) if b.index in words else b for b in boundaries)


def _broken(run: Run, cuts: Cuts, boundaries: Sequence[Boundary]) -> NDArray[np.bool_]:
    """Where fewer batches lie beside the boundary than its epochs have, of those that are looked at; shape (boundaries,)."""
    if not run.gaps:
        return np.zeros(len(boundaries), dtype=bool)
    k, m = np.array([(b.index, b.m) for b in boundaries], dtype=np.int64).T
    length = np.array([len(epoch) for epoch in run.epochs], dtype=np.int64)
    left, right = cuts.last[k] - cuts.first[k], cuts.end[k] - cuts.start[k]
    return np.asarray((left < np.minimum(m, length[k])) | (right < np.minimum(m, length[k + 1])))


def _why(run: Run, cuts: Cuts, boundary: Boundary, unknown: NDArray[np.bool_]) -> str:
    """What is lacking beside the boundary; the first of short epochs, losses that are no numbers, placebos."""
    k, m = boundary.index, boundary.m
    left, right = int(cuts.last[k] - cuts.first[k]), int(cuts.end[k] - cuts.start[k])
    if min(left, right) < m:
        return f"only {plural(min(left, right), 'batch')} {'before' if left < right else 'after'} it"
    end, start = int(cuts.last[k]), int(cuts.start[k])
    known = [np.isfinite(run.loss[a : a + m]).all() for a in (end - m, start)]
    if not all(known):
        if any(unknown[a : a + m].any() for a in (end - m, start)):
            return "the loss is not logged in every batch"
        return f"no finite loss {'on either side' if not any(known) else 'after it' if known[0] else 'before it'}"
    return "too few boundaries" if math.isfinite(boundary.z) else "too few other cuts to compare with"
