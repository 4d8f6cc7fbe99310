"""How far the held-out loss lies below the training loss, with the same criterion on samples prepared alike, and why it may."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.held_out_curve import Curve
from tb_losslens.analysis.loss_function import loss_function
from tb_losslens.analysis.stats import finite, mean, median, row_median
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class Gap:
    """Where the held-out loss lies furthest below, by medians of three validations.

    Attributes:
        at: index of the validation in the curve.
        size: training loss around it less the held-out loss; negative where the held-out loss is above everywhere.
        errors: the same in standard errors of both.
        train, held_out: the two levels.
        below: validations, after the first, at which the held-out loss is below.
    """

    at: int
    size: float
    errors: float
    train: float
    held_out: float
    below: int


def gap_of(run: Run, curve: Curve, *, samples: int = 128, part: float = 0.5) -> Gap | None:
    """The gap of a run; None with fewer than four validations, or without the sizes.

    The training loss at a validation is the lower one of those right before and right after it, over half of the batches
    between two validations, of 128 samples at least: a loss that falls makes no gap. The first validation, where it falls
    fastest, and the last, after which nothing comes, are left out.
    """
    size = finite(run.float("batch_size"))
    each = median(np.diff(curve.rows).astype(np.float64))
    if len(curve) < 4 or not len(size) or not size.mean() > 0 or not each > 0:
        return None
    window = max(2, math.ceil(samples / float(size.mean())), int(part * each))
    loss, rows = run.loss, curve.rows[1:-1]
    before = np.array([mean(loss[max(0, row - window) : row]) for row in rows])
    after = np.array([mean(loss[row : row + window]) for row in rows])
    train = np.minimum(before, after)
    gaps = train - curve.value[1:-1]
    padded = np.concatenate([[np.nan], gaps, [np.nan]])
    smooth = row_median(np.lib.stride_tricks.sliding_window_view(padded, 3))
    if not np.isfinite(smooth).any():
        return None
    best = int(np.nanargmax(smooth))
    row = int(rows[best])
    around = finite(loss[max(0, row - window) : row + window])
    count = curve.validations[best + 1].fields.get("n")
    held = float(count) if isinstance(count, int | float) and count > 0 else samples
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(around.std()) * math.sqrt(float(size.mean())) if len(around) > 1 else math.nan
    # the losses of single samples spread as their mean does; the held-out samples are the same in all three validations
    less = min(1.0, max(0.0, float(curve.value[best + 1]) / float(train[best]))) if train[best] > 0 else 1.0
    error = spread * math.sqrt(1 / (3 * window * float(size.mean())) + less**2 / held)
    errors = float(smooth[best]) / error if error > 0 else math.nan
    lower = int((gaps > 0).sum())
    return Gap(best + 1, float(smooth[best]), errors, float(train[best]), float(curve.value[best + 1]), lower)


def other_reason(
    run: Run, curve: Curve, gap: Gap, *, few: float = 0.05, far: float = 0.25, small: float = 32.0, off: float = 0.25
) -> str:
    """Why the two losses cannot be compared, or what else may part them, in words; "" where nothing is known to.

    Args:
        run: the run.
        curve: its held-out losses.
        gap: between the two.
        few: part of the samples that may come back with another input.
        far: distance of the inputs, in their spread.
        small: samples in a batch from which on BatchNorm makes little noise.
        off: part of the gap by which a logged held-out loss may differ from the mean that was taken while recording.
    """
    model = run.facts.get("model")
    if not isinstance(model, dict) or "dropout" not in model:
        return "it is not known if the model has dropout"
    if model["dropout"]:
        return "the model has dropout, which raises the training loss alone"
    if model.get("batchnorm") and not median(run.float("batch_size")) >= small:
        return "BatchNorm adds noise to small batches, in training alone"
    function = loss_function(run)
    if function is None or function.reduction != "mean":
        return "it is not known which function of output and target the training loss is"
    chosen = curve.validations[gap.at]
    computed = chosen.fields.get("computed")
    same = isinstance(computed, int | float) and abs(computed - gap.held_out) <= off * gap.size
    if chosen.fields.get("source") != "criterion" and not same:
        return "the held-out loss is not known to be the mean of the same criterion"
    if chosen.fields.get("train_mode") not in (0, 0.0):
        return "the model was not in evaluation mode in the validation"
    return _of_data(run, curve, gap.at, few=few, far=far)


def _of_data(run: Run, curve: Curve, at: int, *, few: float, far: float) -> str:
    compared = changed = 0
    for epoch in run.epochs:
        one, other = epoch.fields.get("inputs_compared"), epoch.fields.get("inputs_changed")
        if isinstance(one, int) and isinstance(other, int):
            compared, changed = compared + one, changed + other
        sampler = str((epoch.fields.get("loader") or {}).get("sampler", ""))
        if "Weighted" in sampler:
            return "the sampler draws some samples more often than others"
    if not compared:
        return "it is not known if the samples are augmented in training"
    if changed > few * compared:
        return "the samples come back with other inputs in each epoch, as augmentation makes them"
    relation = finite(run.float("input_relation"))
    if (~np.isin(relation, (0.0, 1.0, 3.0))).any():
        return "the inputs are changed on their way from the loader to the model, in training"
    held = [curve.validations[at].fields.get(name) for name in ("input_mean", "input_std")]
    means, spreads = finite(run.float("input_mean")), finite(run.float("input_std"))
    if all(isinstance(v, int | float) for v in held) and len(means) and len(spreads) and spreads.mean() > 0:
        pairs = zip(held, (means, spreads), strict=True)
        off = [abs(float(v or 0.0) - float(known.mean())) / float(spreads.mean()) for v, known in pairs]
        if max(off) > far:
            return "the validations have other inputs"
    return ""
