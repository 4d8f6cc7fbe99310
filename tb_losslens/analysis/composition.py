"""What came: the part of a jump that other samples, classes or sources of data in the batches make by themselves.

The most exact that was recorded is used: the losses of the same samples in other epochs, losses by class, or the class mix.
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.jump_part import Part
from tb_losslens.analysis.known import mostly_known
from tb_losslens.analysis.part_by_class import by_class_losses
from tb_losslens.analysis.part_by_mix import CLASSES, SOURCES, by_mix
from tb_losslens.analysis.part_by_sample import by_sample
from tb_losslens.analysis.windows import windows
from tb_losslens.store.run import Run


def which_samples(run: Run, boundary: Boundary) -> tuple[float | None, str]:
    """Composition term, or None with the reason; by sample where their own losses are known, else by class."""
    part = by_samples(run, boundary)
    return part.value, part.note


def by_samples(run: Run, boundary: Boundary) -> Part:
    """What other samples came, by the most exact that is known of them."""
    both = windows(run, boundary)
    if run.has("sample_ids") and all(mostly_known(run, "per_sample", side.start, side.stop, part=0.8) for side in both):
        return by_sample(run, boundary, run.epochs[max(0, boundary.index - 1) : boundary.index + 3])
    exact = by_class_losses(run, boundary)
    if exact.value is not None:
        return exact
    if run.has("classes"):
        return by_mix(run, boundary, CLASSES)
    return Part(None, exact.note or "Which samples: unknown without classes or losses of single samples.")


def by_source(run: Run, boundary: Boundary) -> Part:
    """What other sources of data came, where they are known and there are several."""
    source = run.float("source")
    if len(np.unique(source[np.isfinite(source)])) < 2:
        return Part(None)
    return by_mix(run, boundary, SOURCES)
