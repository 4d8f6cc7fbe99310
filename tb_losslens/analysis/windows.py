"""The batches on both sides of a boundary that its jump was measured on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.finding import Boundary
from tb_losslens.store.run import Run


def windows(run: Run, boundary: Boundary) -> tuple[slice, slice]:
    """The rows before and after, within the run."""
    b, m = boundary.batch, boundary.m
    return slice(max(0, b - m), b), slice(b, min(len(run), b + m))


def usual_size(run: Run, boundary: Boundary) -> NDArray[np.bool_]:
    """Batches as large as most around the boundary, shape (n,); all of them where sizes are unknown."""
    if not run.has("batch_size"):
        return np.ones(len(run), dtype=bool)
    size = run.float("batch_size")
    left, right = windows(run, boundary)
    near = np.concatenate([size[left], size[right]])
    near = near[np.isfinite(near)]
    return np.ones(len(run), dtype=bool) if not len(near) else np.asarray(size == float(np.median(near)))
