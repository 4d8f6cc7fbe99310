"""Where other samples came, by their classes: what is measured of their inputs moves along and is no cause of its own."""

from __future__ import annotations

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Finding


def other_samples(context: Context) -> set[int]:
    """Boundaries at which `target_shift`, decided before, found another mix of classes, and no sample with another target."""
    return {
        k
        for found in context.earlier
        if isinstance(found, Finding) and found.cause == "target_shift" and found.strength != "proved"
        for k in found.boundaries
        if any(line.signal in ("classes", "source") for line in found.evidence)
    }
