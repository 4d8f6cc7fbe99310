"""Batches of one epoch in which samples came with another target than before and after: proved by fingerprints, and where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.target_proof import ONE_EPOCH, by_samples
from tb_losslens.analysis.whole import is_compared_in_part
from tb_losslens.store.run import Epoch, Run


@once_a_run
def relabelled_spans(run: Run) -> dict[int, tuple[int, int, Proof]]:
    """By boundary: the first and last row of such a span in the epoch after it, and what proves it.

    The first samples whose target changed are told in the order of their delivery, and how many there were. Where they fill
    batches one after the other, the others were in the batches that follow; where they are scattered over the epoch, or are
    most of it, or where not all samples were compared, it is no span.
    """
    found = {}
    for proof in by_samples(run.epochs):
        at = proof.between[-1] if proof.between else -1
        if proof.detail != ONE_EPOCH or len(proof.between) != 1 or at + 1 >= len(run.epochs):
            continue
        span = None if is_compared_in_part(run.epochs[at + 1]) else _span(run, run.epochs[at + 1])
        if span is not None:
            found[at] = (*span, proof)
    return found


def _span(run: Run, epoch: Epoch, *, dense: float = 0.6, most: float = 0.5) -> tuple[int, int] | None:
    """First and last row with such samples; None where they fill batches by less than `dense`, or `most` of the epoch."""
    ids, told = run.ragged.get("sample_ids"), epoch.fields.get("target_changes")
    changed = epoch.fields.get("targets_changed")
    if ids is None or len(ids) < epoch.last or not isinstance(told, Sequence) or not isinstance(changed, int) or not told:
        return None
    wanted = {int(one[0]) for one in told}
    offsets = ids.offsets[epoch.first : epoch.last + 1]
    values = ids.values[offsets[0] : offsets[-1]]
    if changed > most * len(values):
        return None
    places = np.flatnonzero(np.isin(values, list(wanted)))
    if len(places) != len(wanted):  # some of them came twice
        return None
    rows = np.searchsorted(offsets[1:] - offsets[0], places, side="right")
    first = int(rows[0])
    density = len(places) / (places[-1] - int(offsets[first] - offsets[0]) + 1)
    if density < dense:
        return None
    end = int(offsets[first] - offsets[0]) + round(changed / density)
    last = int(np.searchsorted(offsets[1:] - offsets[0], end - 1, side="right"))
    return epoch.first + first, min(epoch.first + last, epoch.last - 1)
