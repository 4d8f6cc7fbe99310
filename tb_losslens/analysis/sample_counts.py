"""Which samples were never seen, and which came more than once in an epoch: counted, not estimated."""

from __future__ import annotations

from typing import Any

import numpy as np

from tb_losslens.analysis.sample_visits import Visits, data_set_size, whole_epochs
from tb_losslens.analysis.text import plural, some
from tb_losslens.store.run import Run

Found = tuple[dict[str, Any] | None, str]
"""What was found, for programs, and one sentence on it; None and why not, where it cannot be told."""


def never_seen(run: Run, seen: Visits, *, named: int = 10) -> Found:
    """Samples of the data set that no batch of the run held. At least one epoch must be whole."""
    size = data_set_size(run)
    if size is None:
        return None, "the size of the data set is unknown"
    if not whole_epochs(run):
        return None, "no epoch is whole yet"
    if len(seen.names) and seen.names[-1] >= size:
        return None, "the ids are not places in the data set"
    missing = np.setdiff1d(np.arange(size), seen.names, assume_unique=True)
    out = {"count": len(missing), "of": size, "ids": missing[:named].tolist()}
    if not len(missing):
        return out, f"Each of the {size:,} samples was seen."
    verb = "was" if len(missing) == 1 else "were"
    drop = any((e.fields.get("loader") or {}).get("drop_last") for e in run.epochs)
    why = " The last batch of each epoch is dropped." if drop else ""
    return out, f"{len(missing):,} of {size:,} samples {verb} never seen: {some(missing.tolist(), named)}.{why}"


def seen_twice(run: Run, seen: Visits, *, named: int = 10) -> Found:
    """Samples that came more than once in one epoch, over all whole epochs."""
    epochs = whole_epochs(run)
    if not epochs:
        return None, "no epoch is whole yet"
    often = np.zeros(len(seen.names), dtype=np.int64)
    places = 0
    bounds = np.searchsorted(seen.row, [[e.first, e.last] for e in epochs])
    for first, last in bounds.tolist():
        count = np.bincount(seen.of[first:last], minlength=len(seen.names))
        places += bool((count > 1).any())
        often += count > 1
    again = np.flatnonzero(often)
    worst = again[np.argsort(-often[again], kind="stable")][:named]
    out = {"count": len(again), "epochs": places, "of_epochs": len(epochs), "ids": seen.names[worst].tolist()}
    if not len(again):
        return out, f"No sample came twice in one of {plural(len(epochs), 'whole epoch')}."
    ids = some(seen.names[worst].tolist(), named) if len(again) <= named else f"first {some(seen.names[worst].tolist(), named)}"
    samples = plural(len(again), "sample")
    return out, f"{samples} came more than once in an epoch, in {places:,} of {plural(len(epochs), 'whole epoch')}: {ids}."
