"""How low a loss can go whose output can only be within 0..1, and whether losses press on that end."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.baselines import classes_of
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.loss_function import LossFunction, mean_losses
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, percent
from tb_losslens.store.run import Run

_LOWEST, _MIDDLE = math.log1p(math.exp(-1)), math.log(2)
"""Loss of a sample under `BCEWithLogitsLoss` whose output can only be within 0..1: a positive at 1, and a negative at 0."""


def floor_of(classes: int) -> float:
    """The least cross-entropy of outputs within 0..1: that of the right class at 1, all others at 0."""
    return math.log1p((classes - 1) / math.e)


def nearest_to_floor(run: Run, function: LossFunction) -> tuple[Evidence, ...]:
    """How near the loss is to its floor; nothing where the classes are not known."""
    found, losses = classes_of(run), finite(mean_losses(run, function))
    if found is None or not found.complete or len(found.ids) < 2 or not len(losses):
        return ()
    lowest, floor = float(losses.min()), floor_of(len(found.ids))
    if lowest < floor * (1 - 1e-3):
        return ()
    said = f"with {len(found.ids):,} classes the loss cannot go below {number(floor, 4)} then; its lowest value is"
    return (Evidence(f"{said} {number(lowest, 4)}", "loss"),)


def presses_on_floor(run: Run, *, least: int = 100, near: float = 0.03, part: float = 0.05) -> tuple[Evidence, ...] | None:
    """A loss that begins at ln C and gathers right above the floor of probabilities, without a batch below it."""
    found, loss = classes_of(run), run.loss
    if found is None or not found.complete or len(found.ids) < 3 or len(finite(loss)) < least:
        return None
    top, floor = math.log(len(found.ids)), floor_of(len(found.ids))
    late = finite(loss[len(loss) // 2 :])
    close = late <= floor + near * (top - floor)
    begins = abs(median(loss[:5]) - top) <= 0.1 * (top - floor)
    if not begins or float(finite(loss).min()) < floor * (1 - 1e-5) or close.sum() < max(10, part * len(late)):
        return None
    below = f"no batch of {len(finite(loss)):,} has a loss below {number(floor, 4)}, and {int(close.sum()):,} of the later half"
    least_of = f"the least cross-entropy of probabilities of {len(found.ids):,} classes"
    return (
        Evidence(f"{below} lie less than {number(near * (top - floor), 2)} above it", "loss"),
        Evidence(f"that is ln(1 + {len(found.ids) - 1} / e), {least_of}"),
    )


def presses_on_ends(
    run: Run, function: LossFunction, *, near: float = 0.03, part: float = 0.1, most: float = 0.8
) -> Evidence | None:
    """Losses of single samples that gather at those of outputs of 1 and of 0, or all at that of 0, in the run's later half."""
    kept = run.ragged.get("per_sample")
    if kept is None or function.reduction == "batchmean":
        return None
    late = [finite(kept[row]) for row in function.rows.tolist() if row >= len(run) // 2]
    losses = np.concatenate(late) if late else np.empty(0)
    if len(losses) < 100 or losses.min() < _LOWEST * (1 - 1e-4):
        return None
    begin = median(kept[int(function.rows[0])])
    pinned = float((np.abs(losses - _MIDDLE) < near / 3).mean())
    if begin > _MIDDLE + near and pinned > most:
        said = f"{percent(pinned)} of the later losses of single samples lie at ln 2 = {number(_MIDDLE)}, from {number(begin)}"
        return Evidence(f"{said} at the beginning: every output is pressed to 0, and none goes below", "per_sample")
    shares = [float((np.abs(losses - end) < near).mean()) for end in (_LOWEST, _MIDDLE)]
    if min(shares) < part:
        return None
    said = f"{percent(shares[0])} of the losses of single samples lie at {number(_LOWEST)} and {percent(shares[1])} at"
    return Evidence(f"{said} {number(_MIDDLE)}, those of an output of 1 and of 0; none lies below", "per_sample")
