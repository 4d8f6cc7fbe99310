"""How often a training saw each of its samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.stats import finite
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Exposures:
    """Samples of a training.

    Attributes:
        samples: different ones.
        each: how often each was seen, on average over them.
        counted: they were told apart by their ids; else the loader said how many there are.
    """

    samples: int
    each: float
    counted: bool


def exposures(run: Run) -> Exposures | None:
    """From the ids of at least nine batches in ten, else from the size of the data set; None where neither is known."""
    size = finite(run.float("batch_size"))
    ids = run.ragged.get("sample_ids")
    known = np.diff(ids.offsets) > 0 if ids is not None else np.zeros(0, dtype=bool)
    if ids is not None and len(known) and known.mean() >= 0.9:
        samples = len(np.unique(ids.values))
        return Exposures(samples, len(ids.values) / samples / float(known.mean()), counted=True)
    count = run.facts.get("dataset_size")
    if not isinstance(count, int) or count < 1 or not len(size):
        return None
    seen = float(size.mean()) * len(run) / count
    return Exposures(count, seen, counted=False) if math.isfinite(seen) else None


def weights_of(run: Run) -> int | None:
    """Trained weights of the model, from the settings at the first epoch; None where they were not read."""
    for event in run.events:
        config = event.fields.get("config") if event.kind == "epoch_begin" else None
        if isinstance(config, dict):
            counts = [value for key, value in config.items() if str(key).startswith("trainable parameters in ")]
            return sum(n for n in counts if isinstance(n, int)) or None
    return None
