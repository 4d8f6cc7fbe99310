"""Why the jump at a boundary cannot be judged, in a few words: that is not the same as a jump within noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries import Cuts
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.text import plural
from tb_losslens.analysis.unlogged import unlogged
from tb_losslens.store.run import Run


def with_reasons(run: Run, cuts: Cuts, boundaries: Sequence[Boundary], reason: str) -> tuple[Boundary, ...]:
    """The boundaries, each that cannot be judged with `unmeasured`; `reason` is why none of the run can be, or ""."""
    hidden = [b for b in boundaries if not math.isfinite(b.z) or (reason and not b.significant)]
    gone = unlogged(run) if hidden else np.zeros(0, dtype=bool)
    return tuple(
        replace(b, unmeasured=_why(run, cuts, b, gone)) if not math.isfinite(b.z) or (reason and not b.significant) else b
        for b in boundaries
    )


def _why(run: Run, cuts: Cuts, boundary: Boundary, unknown: NDArray[np.bool_], *, least: int = 10) -> str:
    """What is lacking beside the boundary; the first of missing batches, short epochs, losses that are no numbers, placebos."""
    k, m = boundary.index, boundary.m
    left, right = int(cuts.last[k] - cuts.first[k]), int(cuts.end[k] - cuts.start[k])
    before, after = run.epochs[k : k + 2]
    gone = left < min(m, len(before)) or right < min(m, len(after))
    if gone:
        return "batches are missing beside it"
    if cuts.length < least:
        return f"an epoch has {plural(cuts.length, 'batch')}"
    if min(left, right) < m:
        return f"only {plural(min(left, right), 'batch')} {'before' if left < right else 'after'} it"
    end, start = int(cuts.last[k]), int(cuts.start[k])
    known = [np.isfinite(run.loss[a : a + m]).all() for a in (end - m, start)]
    if not all(known):
        if any(unknown[a : a + m].any() for a in (end - m, start)):
            return "the loss is not logged in every batch"
        return f"no finite loss {'on either side' if not any(known) else 'after it' if known[0] else 'before it'}"
    return "too few boundaries" if math.isfinite(boundary.z) else "too few other cuts to compare with"
