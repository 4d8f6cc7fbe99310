"""The model is given other inputs in validation than in training: another scale, another offset.

What it sees:
    Mean and standard deviation of all elements of the model's input, in each validation and in the training batches before it.

Why it matters:
    Inputs that are normalised in training and not in validation, or divided by 255 only once, give a held-out loss that says
    nothing of the model. Early stopping, the choice of a checkpoint and every comparison by that value are then by chance.

How it decides:
    Both in the same unit, the spread of the training inputs: a mean more than half a spread away; or a quarter of one with a
    spread that is half as large again, or less by as much; or a spread three times or a third as large. Both against all
    batches taken together and against the batch in their middle: a few training samples that are far out move the one and not
    the other. It must be so in all validations from some one on, two at least, and the held-out loss must lack a quarter of
    what the training loss has learned, or a tenth where the means are a whole spread apart. Or it is so in a single validation,
    at which the held-out loss spikes, and neither is so at a later one. Augmentation and another sample of the same data stay
    far below that.

What to try:
    The same preprocessing, with the constants of the training data, in both; augmentation aside.

When it is wrong:
    A held-out set that is meant to be another one (other sensors, a later time) differs as well: it is said what differs, not
    why. Loud noise that is added in training only widens its inputs. Changes that mean and spread do not show, such as swapped
    channels, are not seen. Inputs of integers have none. A change in the training itself is `input_shift`. `python -m
    demo.healthy` counts false alarms.

References:
    Sculley et al., Hidden Technical Debt in Machine Learning Systems, 2015 (training-serving skew).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.held_out_curve import Curve, held_out_curve, place
from tb_losslens.analysis.held_out_spikes import held_out_spikes
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.stats import Floats, median
from tb_losslens.analysis.text import number, percent, plural, times
from tb_losslens.store.run import Run

ID = "validation_mismatch"
REQUIRES: tuple[str, ...] = ("loss",)

_HOW = 'val_loader = writer.wrap(val_loader, split="val")'


def find(
    context: Context,
    *,
    far: float = 0.5,
    near: float = 0.25,
    ratio: float = 1.5,
    apart: float = 3.0,
    least: int = 2,
    lost: float = 0.25,
    little: float = 0.1,
) -> Outcome:
    """One finding, or how alike the inputs are.

    Args:
        context: the run and its measurement.
        far: spreads of the training inputs by which the mean may be off at most.
        near: the same where the spread differs by `ratio` too.
        ratio: of the two spreads, either way.
        apart: the same where only the spread differs.
        least: validations from some one on to the last.
        lost: part of what the training loss has learned that the held-out loss lacks.
        little: the same where the means are a whole spread apart.
    """
    run, curve = context.run, held_out_curve(context)
    if curve is None:
        return Skipped(ID, "no validation with a value was recorded", _HOW)
    held = np.array([[_known(v.fields.get(name)) for name in ("input_mean", "input_std")] for v in curve.validations])
    train, middle = _of_training(run, curve)
    how = "" if run.facts.get("model") else "writer.watch(model, optimizer)"
    off, wide = (np.minimum(*pair) for pair in zip(_apart(held, train), _apart(held, middle), strict=True))
    known = np.isfinite(off) & np.isfinite(wide)
    if not known.any():
        return Skipped(ID, "the inputs of no validation were recorded beside those of the training", how)
    differ = known & ((off > far) | ((off > near) & (wide > math.log(ratio))) | (wide > math.log(apart)))
    alike = np.flatnonzero(known & ~differ)
    first = int(alike[-1]) + 1 if len(alike) else 0
    size = f"{number(float(off[known].max()), 2)} spreads from that in training"
    by = times(float(np.exp(median(wide))))
    said = f"the inputs of {plural(int(known.sum()), 'validation')} have a mean up to {size}, and a spread that differs by {by}"
    rows = np.flatnonzero(differ[first:]) + first
    if len(rows) < least:
        rows = _in_spikes(curve, differ)
    if not len(rows):
        return Checked(ID, said)
    learned = curve.start - curve.train[rows]
    gap = median((curve.value[rows] - curve.train[rows]) / np.where(learned > 0, learned, np.nan))
    if not gap > (little if median(off[rows]) > 1 else lost):
        return Checked(ID, f"{said}, which the held-out loss does not show")
    return _finding(run, curve, rows, held=held, train=train, gap=gap, passing=not differ[first:].sum() >= least)


def _in_spikes(curve: Curve, differ: NDArray[np.bool_]) -> Rows:
    """The validations of which the inputs differ in spikes of the held-out loss that are over."""
    high = [k for spike in held_out_spikes(curve) if spike.back is not None for k in range(spike.first, spike.back)]
    return np.array([k for k in high if differ[k]], dtype=np.int64)


def _known(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _apart(held: Floats, train: Floats) -> tuple[Floats, Floats]:
    """How many spreads of the training the means lie apart, and the logarithm of the ratio of the spreads; shape (k,) each."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.abs(held[:, 0] - train[:, 0]) / train[:, 1], np.abs(np.log(held[:, 1] / train[:, 1]))


def _of_training(run: Run, curve: Curve) -> tuple[Floats, Floats]:
    """Mean and spread of the batches since the validation before, shape (k, 2); NaN where none was read.

    Of all their elements together, and of the batch in the middle.
    """
    mean, std, turn = run.float("input_mean"), run.float("input_std"), by_turn(run)
    out, middle = np.full((len(curve), 2), np.nan), np.full((len(curve), 2), np.nan)
    for k, (a, b) in enumerate(zip([0, *curve.rows[:-1]], curve.rows, strict=True)):
        use = np.flatnonzero(np.isfinite(mean[a:b]) & np.isfinite(std[a:b]) & turn[a:b]) + a
        if len(use):
            with np.errstate(over="ignore", invalid="ignore"):
                level = float(mean[use].mean())
                spread = float(np.sqrt(np.maximum((std[use] ** 2 + (mean[use] - level) ** 2).mean(), 0.0)))
            out[k] = level, spread if spread > 0 else math.nan
            usual = median(std[use])
            middle[k] = median(mean[use]), usual if usual > 0 else math.nan
    return out, middle


def _finding(run: Run, curve: Curve, rows: Rows, *, held: Floats, train: Floats, gap: float, passing: bool) -> Finding:
    first = int(rows[0])
    start = not first
    others = np.setdiff1d(np.arange(len(curve)), rows) if passing else np.arange(first)
    mean, std = (number(median(held[rows, k])) for k in (0, 1))
    of_train = tuple(number(median(train[rows, k])) for k in (0, 1))
    since = "in all validations" if start else f"in all validations from that {place(run, curve.validations[first])} on"
    if passing:
        more = f" and {plural(len(rows) - 1, 'other')}" if len(rows) > 1 else ""
        since = f"in the validation {place(run, curve.validations[first])}{more}"
    span = (int(curve.rows[first - 1]) if first else 0, int(curve.rows[-1]))
    evidence = [
        Evidence(f"inputs of the validations: mean {mean}, spread {std}, {since} ({len(rows):,})"),
        Evidence(f"inputs of the training meanwhile: mean {of_train[0]}, spread {of_train[1]}", "input_mean", span),
        Evidence(f"the held-out loss lacks {percent(min(gap, 9.99))} of what the training loss has learned", "loss", span),
    ]
    if not start:
        usual, spread = (number(median(held[others, k])) for k in (0, 1))
        which = "other validations" if passing else "validations before"
        evidence.append(Evidence(f"the {which} had a mean of {usual} and a spread of {spread}"))
    return Finding(
        ID, "fault", "likely", "Validation inputs are not those of training",
        f"The model is given inputs of mean {mean} and spread {std} in validation, and of mean {of_train[0]} and spread "
        f"{of_train[1]} in training, {since}.",
        detail="one_validation" if passing else "from_start" if start else "from_epoch", score=0.8,
        steps=(int(run.step[max(0, int(curve.rows[first]) - 1)]),), explains_jump=False, evidence=tuple(evidence),
        against=(Evidence("it changes the validation value, not the training loss at the boundary"),),
        advice="Give both the same preprocessing, with the constants of the training data; augmentation aside.",
        fix=(
            "x_train, x_val = next(iter(train_loader))[0], next(iter(val_loader))[0]\n"
            "print(x_train.mean(), x_train.std(), x_train.dtype, x_val.mean(), x_val.std(), x_val.dtype)\n"
            "val_dataset.transform = preprocessing       # that of the training, without its augmentation"
        ),
        confirm="Validate on samples of the training set, prepared as in validation: the loss must be that of training.",
    )  # fmt: skip
