"""The loss of the same weights in training mode and in evaluation mode."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.stats import mean, median
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class BothModes:
    """Two losses, medians over a few places.

    Attributes:
        training: mean of the batches before each place.
        evaluation: in evaluation mode there.
        whose: whose samples the latter has, in words.
        probed: it is that of the probe's training samples.
    """

    training: float
    evaluation: float
    whose: str
    probed: bool


def in_both_modes(run: Run, *, most: int = 5, batches: int = 50) -> BothModes | None:
    """From the last looks of the probe at the end of an epoch, else from the validations of the last quarter.

    None with neither. BatchNorm uses the statistics of the batch in the probe, as it does in training. Up to `most` places, and
    the mean of up to `batches` training batches before each, of an eighth of the run at most.
    """
    looks = []
    for event in run.events:
        if event.kind == "probe" and event.fields.get("when") == "t0":
            value = event.fields.get("train_batchstat")
            value = event.fields.get("train_eval") if value is None else value
            if isinstance(value, int | float) and math.isfinite(value):
                looks.append((event.batch, float(value)))
    if looks:
        return _paired(run, looks[-most:], batches, "of training samples that the probe keeps", probed=True)
    late = len(run) - max(1, len(run) // 4)
    eval_mode = [v for v in run.validations if v.fields.get("train_mode") in (0, None) and math.isfinite(v.value)]
    held = [(v.batch, v.value) for v in eval_mode if v.batch >= late]
    return _paired(run, held[-most:], batches, "of the held-out samples", probed=False) if len(held) > 1 else None


def _paired(run: Run, places: list[tuple[int, float]], batches: int, whose: str, *, probed: bool) -> BothModes | None:
    reach = max(1, min(batches, len(run) // 8))
    training = median(np.array([mean(run.loss[max(0, row - reach) : row]) for row, _ in places]))
    evaluation = median(np.array([value for _, value in places]))
    both = math.isfinite(training) and math.isfinite(evaluation)
    return BothModes(training, evaluation, whose, probed) if both else None
