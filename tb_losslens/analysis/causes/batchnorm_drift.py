"""BatchNorm's running statistics are not those of the batches, so that a validation sees a worse model than the training has.

What it sees:
    The probe: the same held-out and the same training batch, in evaluation mode and with the statistics of the batch. The
    distance of running from batch statistics in the batches right after a validation, the held-out loss, the counts of updates.

Why it matters:
    In evaluation mode BatchNorm uses averages that it has gathered in training. If these lag behind the weights, hold what a
    batch of two samples or other data put there, or were set back, the held-out loss spikes or stays high although the model
    is fine. Early stopping, the LR on a plateau and the choice of a checkpoint then follow an error, and the weights are
    saved together with these averages.

How it decides:
    By experiment, where a probe is set: evaluation mode must cost the held-out batch a quarter of what was learned (and of its
    loss) against the statistics of the batch, with the same weights; and the training batch a tenth, or the running statistics
    must be seen to be off. Two validations, or a single one that spikes, loses twice as much, or before which the loss of a
    training batch changed with the weights unchanged. Without a probe: the held-out loss spikes exactly where they were
    updated by no step or set back, while the training loss stays in trend; or where they are off by half a standard deviation
    or a factor of 2 in the variance, three times more than at the others, those aside that come right after and are off by less
    and less: averages forget step by step. Or they are so off at nearly all validations (a
    variance that is too large by a factor of 4, or of 2 where the momentum keeps it from before the training), and the held-out
    loss lacks a quarter of what the training loss has learned in the middle of these, and an eighth at each. Or they keep so
    much of what they held before the training that they are off at nearly all validations, and the held-out loss lacks that
    quarter at two of them and less and less as they fill up.

What to try:
    As the sub-kind says: a momentum of 0.1, `drop_last=True`, evaluation mode where other data pass through the model, larger
    batches, `update_bn` before a validation, or GroupNorm.

When it is wrong:
    Held-out data that are of another kind look the same on the held-out batch only: read `validation_mismatch`. Frozen
    BatchNorm is left alone, as are averages of a new training, still filling up; batches that are not mixed are
    `incomplete_shuffle`. Without a probe, an overfitted model with statistics that are off as well cannot be told apart.
    False-alarm rate: none on healthy trainings so far.

References:
    Ioffe and Szegedy, Batch Normalization, 2015. Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.batchnorm_gap import (
    Experiment,
    Statistics,
    experiments,
    is_updated,
    lost_of,
    momenta,
    statistics,
    touched_before,
    weight_of_start,
)
from tb_losslens.analysis.batchnorm_why import why
from tb_losslens.analysis.batchnorm_words import by_experiment, held_out, most_seen, of_statistics
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.held_out_curve import Curve, held_out_curve, place
from tb_losslens.analysis.held_out_spikes import held_out_spikes, unit_of
from tb_losslens.analysis.stats import Floats, median, rank_correlation
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run

ID = "batchnorm_drift"
REQUIRES: tuple[str, ...] = ("loss",)

Mask = NDArray[np.bool_]
_WATCH = "writer.watch(model, optimizer, criterion=criterion)"
_TINY = 1e-30
_PROBE = "writer.set_probe()     # the same two batches in both modes"


def find(
    context: Context, *, lost: float = 0.25, same: float = 0.1, off: float = 1.0, apart: float = 3.0, most: float = 0.75
) -> Outcome:
    """One finding, or how much evaluation mode adds to the loss of the same batch.

    Args:
        context: the run and its measurement.
        lost: part of what was learned that evaluation mode costs, from which on it counts.
        same: the same of the training batch, in the median over these validations.
        off: distance of the statistics as `Statistics.off`, from which on they are wrong.
        apart: times the distance at other validations.
        most: part of the validations at which they must be off if no spike tells them apart.
    """
    run, curve = context.run, held_out_curve(context)
    if curve is None:
        return Skipped(ID, "no validation with a value was recorded", 'val_loader = writer.wrap(val_loader, split="val")')
    left = _left_alone(context)
    if left is not None:
        return left
    tests, read = experiments(run, curve), statistics(run, curve)
    rows = _by_experiment(run, curve, tests, read, lost=lost, same=same, off=off)
    if not rows:
        unseen = np.array([test.heldout is None for test in tests])
        rows = _by_statistics(context, curve, unseen, read, lost=lost, off=off, apart=apart, most=most)
    if not rows:
        return _nothing(curve, tests, read)
    if context.found("incomplete_shuffle") is not None:
        return Checked(ID, f"{most_seen(curve, tests, read)}, which batches that are not mixed do: see `incomplete_shuffle`")
    return _finding(run, curve, rows, tests, read)


def _left_alone(context: Context) -> Outcome | None:
    run = context.run
    model = run.facts.get("model")
    if isinstance(model, dict) and model.get("batchnorm") == 0:
        return Checked(ID, "the model has no normalisation by batch statistics (0 modules)")
    updated = is_updated(run)
    if updated is None:
        return Skipped(ID, "it is not known whether the model has BatchNorm layers", _WATCH)
    if not updated:
        return Checked(ID, "running statistics of 1 layer or more are never updated: frozen on purpose, as in fine-tuning")
    if any(isinstance(o, Finding) and o.detail == "validation_in_train" for o in context.earlier):
        return Checked(ID, "a validation ran in training mode, which uses no running statistics: 1 finding of `wrong_mode`")
    return None


def _filled(run: Run, curve: Curve, *, usual: float = 0.05) -> Mask:
    """True for validations whose averages hold less than 5 % of what they began with, or whose momentum is no usual one."""
    known = [m for m in momenta(run) if math.isfinite(m)] or [0.1]
    slowest = min(known)
    if slowest < usual:
        return np.ones(len(curve), dtype=bool)
    return np.array([not weight_of_start(row, slowest) > usual for row in curve.rows.tolist()], dtype=bool)


def _of_start(run: Run, curve: Curve, *, much: float = 0.25) -> Mask:
    """True for validations whose averages still hold a quarter of what they began with, by their momentum."""
    known = [m for m in momenta(run) if math.isfinite(m)]
    return np.array([bool(known) and weight_of_start(row, min(known)) > much for row in curve.rows.tolist()], dtype=bool)


def _by_experiment(
    run: Run, curve: Curve, tests: Sequence[Experiment], read: Sequence[Statistics], *, lost: float, same: float, off: float
) -> list[int]:
    """Validations at which the probe shows it, in order."""
    heldout, train = lost_of(curve, tests, "heldout"), lost_of(curve, tests, "train")
    pairs = [test.heldout for test in tests]
    plain = np.array([pair is not None and pair.eval - pair.batch >= lost * abs(pair.batch) for pair in pairs])
    rows: list[int] = np.flatnonzero((heldout >= lost) & plain & _filled(run, curve)).tolist()
    if not rows or rows == [0]:
        return []
    if not (median(train[rows]) >= same or median(np.array([read[k].off for k in rows])) >= off):
        return []
    spikes = held_out_spikes(curve)
    sure = [k for k in rows if tests[k].touched is not None or heldout[k] >= 2 * lost or any(s.holds(k) for s in spikes)]
    return rows if len(rows) > 1 or sure else []


def _by_statistics(
    context: Context, curve: Curve, unseen: Mask, read: Sequence[Statistics], *, lost: float, off: float, apart: float,
    most: float,
) -> list[int]:  # fmt: skip
    """Validations at which the running statistics are off and the held-out loss shows it; `unseen` by the probe."""
    run = context.run
    wide, filled = np.array([one.off for one in read]), _filled(run, curve)
    known = np.isfinite(wide) & filled
    spikes = held_out_spikes(curve)
    high = np.array([any(s.holds(k) for s in spikes) for k in range(len(curve))])
    rest = known & ~high
    alone = high & unseen & filled & _in_trend(run, curve)
    touched = np.isin(curve.rows, list(touched_before(run)))
    if context.found("validation_mismatch") is None:
        if (touched & alone).any() and not (touched & ~high).any():
            return [int(k) for k in np.flatnonzero(touched & alone)]
        at = np.flatnonzero(alone & (wide >= off))
        rest &= ~_fading(wide, at, off)
        if len(at) and rest.sum() >= 2 and (wide[at] >= apart * median(wide[rest])).all() and not (wide[rest] >= off).any():
            return [int(k) for k in at]
    if not unseen.all() or not known.any():
        return []
    lacks = np.array([(v - t) / max(unit_of(curve.start, t), _TINY) for v, t in zip(curve.value, curve.train, strict=True)])
    # as long as little is learned the held-out loss can lack little
    best = min((value for value in curve.train.tolist() if math.isfinite(value)), default=math.nan)
    known &= curve.start - curve.train >= 0.5 * (curve.start - best)
    # held-out losses are noisy: what they lack in the middle is judged, and none may lack next to nothing
    begun = _of_start(run, curve)
    # what is there of before the training is known by the momentum: a factor of 2 counts either way
    ratios = np.array([abs(one.log_ratio) for one in read]) / math.log(2)
    wide = np.where(begun, np.fmax(wide, ratios), wide)
    lasting = [int(k) for k in np.flatnonzero(known & (wide >= off) & (lacks >= lost / 2))]
    filling = _while_filling(known, begun & (wide >= off), lacks, lost=lost, most=most)
    if filling:
        return filling
    if not lasting or median(lacks[lasting]) < lost:
        return []
    # a larger running variance is what a few large samples make, and no error, unless it is that from before the training
    plain = all(read[k].log_ratio < 0 or read[k].mean >= 0.5 * off or begun[k] for k in lasting)
    return lasting if plain and known.sum() >= 3 and len(lasting) >= most * known.sum() else []


def _while_filling(known: Mask, held: Mask, lacks: Floats, *, lost: float, most: float) -> list[int]:
    """Validations that lack `lost` and more while the averages hold much of what they began with, if that lack shrinks.

    What they are off by is known from the momentum then, and shrinks; what an overfitted model lacks grows.
    """
    rows = np.flatnonzero(known & held)
    if known.sum() < 3 or len(rows) < most * known.sum():
        return []
    harmed = [int(k) for k in rows if lacks[k] >= lost]
    shrinks, _ = rank_correlation(rows.astype(np.float64), lacks[rows])
    return harmed if len(harmed) > 1 and shrinks < 0 else []


def _fading(wide: Floats, at: NDArray[np.int64], off: float) -> Mask:
    """True for validations right after those `at` that are `off` by less and less: an average forgets step by step."""
    out = np.zeros(len(wide), dtype=bool)
    for k in at.tolist():
        for later in range(k + 1, len(wide)):
            if later in at or not off <= wide[later] < wide[later - 1]:
                break
            out[later] = True
    return out


def _in_trend(run: Run, curve: Curve, *, count: int = 10, most: float = 0.25) -> Mask:
    """True where the training loss right after a validation is not above that before it by `most` of what was learned."""
    out = np.zeros(len(curve), dtype=bool)
    for k, row in enumerate(curve.rows.tolist()):
        before, after = median(run.loss[max(0, row - count) : row]), median(run.loss[row : row + count])
        out[k] = after - before < most * unit_of(curve.start, before)
    return out


def _nothing(curve: Curve, tests: Sequence[Experiment], read: Sequence[Statistics]) -> Outcome:
    said = most_seen(curve, tests, read)
    if not said:
        return Skipped(ID, "BatchNorm's statistics were not read next to any validation", _PROBE)
    train = lost_of(curve, tests, "train")
    if np.isfinite(train).any():
        said += f"; it costs the training batch up to {percent(float(np.clip(np.nanmax(train), -9.99, 9.99)))}"
    return Checked(ID, said)


def _is_touched_there(run: Run, curve: Curve, before: Sequence[int]) -> bool:
    """True if the statistics were changed by no step at these validations, and at none of the others, where there are any."""
    touched = touched_before(run)
    return bool(touched & set(before)) and not touched & (set(curve.rows.tolist()) - set(before))


def _finding(run: Run, curve: Curve, rows: list[int], tests: Sequence[Experiment], read: Sequence[Statistics]) -> Finding:
    first = rows[0]
    tested = [k for k in rows if tests[k].heldout is not None]
    before = [int(curve.rows[k]) for k in rows]
    cause = why(run, before, touched=_is_touched_there(run, curve, before))
    where = place(run, curve.validations[first])
    count = plural(len(rows), "validation")
    evidence = [*by_experiment(run, curve, tested, tests), *held_out(curve, rows), *of_statistics(curve, rows, read)]
    evidence += cause.evidence
    against = [Evidence("it changes the validation value, not the training loss at the boundary")]
    if not tested:
        against.append(Evidence("no probe looked at these validations, so what is due to the statistics is not measured"))
    text = (
        f"At {count}, first {where}, the running statistics of BatchNorm are not those of the batches, and the held-out loss "
        f"is up to {number(float(curve.value[rows].max()))} there."
    )
    return Finding(
        ID, "fault", "proved" if tested else "likely", "BatchNorm's running statistics spoil the validation",
        f"{text} {cause.text}".strip(),
        detail=cause.detail, score=0.9 if tested else 0.7,
        steps=tuple(int(run.step[max(0, int(curve.rows[k]) - 1)]) for k in rows[:50]),
        explains_jump=False, evidence=tuple(evidence), against=tuple(against), missing=() if tested else (_PROBE,),
        advice=cause.advice, fix=cause.fix,
        confirm="Run `torch.optim.swa_utils.update_bn(train_loader, copy.deepcopy(model))` and validate that copy: its loss is "
        "that of the trend.",
    )  # fmt: skip
