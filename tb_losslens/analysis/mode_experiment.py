"""What the mode alone does to the loss of the same batch, by the probe: in networks whose modes differ by BatchNorm only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.eval_mode import model_modules
from tb_losslens.analysis.explain import typical_excess
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.probe_looks import looks, pair
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural, signed
from tb_losslens.store.run import Run, RunEvent


@dataclass(frozen=True)
class Tested:
    """What the probe says, and the part of the jump that it reproduces; None where that is less than what counts."""

    evidence: Evidence
    share: float | None


def mode_experiment(
    context: Context, at: Sequence[int], mode: NDArray[np.float64], *, least: float = 0.3
) -> Tested | None:
    """At boundaries `at`, where the mode changes as a whole: the change of the loss of the same training batch with it.

    The probe calls the model without dropout, so that it stands for training mode only where there is none. None without it,
    or where it did not look.

    Args:
        context: the run and its measurement.
        at: boundaries.
        mode: of each row, shape (n,).
        least: part of the jump from which on it explains it.
    """
    modules = model_modules(context)
    if modules is None or modules[0] or not modules[1]:
        return None
    changes = []
    for k in at:
        row = context.boundaries[k].batch
        seen = looks(context.run).get(row, {})
        both = pair(seen.get("t1", {}), "train") or pair(seen.get("t0", {}), "train")
        if both is not None and {float(mode[row - 1]), float(mode[row])} == {0.0, 1.0}:
            changes.append((both.eval - both.batch) * (1 if mode[row] == 0 else -1))
    level = typical_excess(context.boundaries[k] for k in at)
    if not changes or not math.isfinite(level) or level == 0:
        return None
    moved = median(np.array(changes))
    part = moved / level
    said = (
        f"by experiment, with the same weights: the mode alone moves the loss of the same training batch by {signed(moved)} "
        f"({plural(len(changes), 'boundary')}), {percent(float(np.clip(part, 0.0, 1.0)))} of the jump"
    )
    return Tested(Evidence(said), float(np.clip(part, 0.0, 1.0)) if part >= least else None)


def heldout_experiment(run: Run, validations: Sequence[RunEvent]) -> list[Evidence]:
    """At validations in training mode: the loss of the same held-out batch in evaluation mode and on its own statistics.

    That of the validation with the largest difference; empty without a probe, or where there is none.
    """
    pairs = []
    for event in validations:
        seen = looks(run).get(event.batch, {})
        both = pair(seen.get("before_validation", {}), "heldout") or pair(seen.get("after_validation", {}), "heldout")
        if both is not None and both.eval != both.batch:
            pairs.append(both)
    if not pairs:
        return []
    most = max(pairs, key=lambda one: abs(one.eval - one.batch))
    said = "by experiment, with the same weights: the loss of the same held-out batch is"
    values = f"{number(most.eval)} in evaluation mode and {number(most.batch)} with BatchNorm on the statistics of the batch"
    return [Evidence(f"{said} {values}, as there")]
