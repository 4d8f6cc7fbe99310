"""The loss before any update, over enough samples to be one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.loss_function import LossFunction, mean_losses
from tb_losslens.analysis.stats import finite
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class FirstLoss:
    """Mean loss of a sample in the first batches.

    Attributes:
        level: over the samples of all of them.
        error: standard error of `level`; NaN where losses of single samples are not known.
        samples, batches: how many; the batches after the first one come after an update.
        alone: of the first batch.
    """

    level: float
    error: float
    samples: int
    batches: int
    alone: float


def first_loss(run: Run, function: LossFunction, *, samples: int = 32, most: int = 64) -> FirstLoss | None:
    """The first batches up to so many samples; None where `most` batches have less than half as many with a known loss."""
    losses, sizes, kept = mean_losses(run, function), run.float("batch_size"), run.ragged.get("per_sample")
    if not len(run) or not math.isfinite(losses[0]):
        return None
    count, total, single, last = 0, 0.0, [], 0
    for row in range(min(most, len(run))):
        mine = np.empty(0) if kept is None else finite(kept[row])
        size = len(mine) or (int(sizes[row]) if sizes[row] > 0 else 0)
        if not size or not math.isfinite(losses[row]):
            continue
        count, total, last = count + size, total + size * float(losses[row]), row
        single.append(mine)
        if count >= samples:
            break
    if 2 * count < samples:
        return None
    known = np.concatenate(single)
    error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) == count else math.nan
    return FirstLoss(total / count, error, count, last + 1, float(losses[0]))


def trained_before(run: Run) -> str:
    """Why the first batch is not that of an untrained model, as far as it was recorded; "" if nothing says so."""
    if any(event.kind == "restore" and event.batch == 0 for event in run.events):
        return "a state was loaded before the first batch"
    begin = next((event for event in run.events if event.kind == "epoch_begin"), None)
    states = begin.fields.get("optimizer_state") if begin is not None else None
    for state in states if isinstance(states, list | tuple) else ():
        counts = state.get("step") if isinstance(state, dict) else None
        if any(isinstance(c, int | float) and c > 0 for c in (counts if isinstance(counts, list | tuple) else [counts])):
            return "the optimiser had made steps before the first batch"
    return ""
