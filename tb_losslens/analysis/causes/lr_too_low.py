"""The learning rate is so small, or decays so early, that the training ends where it still went downhill.

What it sees:
    The slope of the loss along the updates for their LR, early and late in the run, how far each parameter moved for its size,
    and how much of the loss of the best constant is gone.

Why it matters:
    Each step goes downhill and none goes far. The curve looks calm and healthy, and the time is spent on a distance that
    a larger LR covers in a few batches.

How it decides:
    A step takes LR times slope off the loss, so a slope that is as steep at the end as it was at the start tells that the way
    has not even begun. In the first and in the last third of the updates that were read the slope is clearly negative, by
    `errors` standard errors, and for the same LR at least `straight` of it is left: what the output of an untrained model loses
    to begin with is steeper than the way itself. The updates of every parameter, laid end to end, are `moved` times its size
    at most; no more than `gone` of the loss of the best constant is gone, after `least_epochs` passes.
    A decay is too early where three fifths of the batches and more have a twentieth of all LRs added up, and the loss was
    falling until then: over the last third of the way before, measured in LRs added up, by `errors` standard errors, so that
    as much way again would bring `coming` of what was learned, flattening as before, of which less than `came` came. The slope
    along the updates must not have turned, and it is possible only where it is not clearly negative to the end. Validations
    after it must not say that other samples have no part in it.

What to try:
    A larger LR, by factors of ten, until the loss gets no lower within an epoch; a decay over the whole length of the run.

When it is wrong:
    Small updates that have another reason are left to it: gradients that vanish, a bad initialisation, clipping to a tenth of
    the norm, an LR that decays or rises by more than a cosine does. A training that begins from a good model, one of which
    the loss of the best constant is unknown, one of fewer than 200 batches, and one that was stopped long before its planned
    end (`early_stop_premature`) are not judged. Whether more epochs would help at a usual LR is not asked here: there a tenth
    of the loss is soon gone, and the slope flattens. False-alarm rate: none on
    healthy trainings so far.

References:
    Smith, A disciplined approach to neural network hyper-parameters, 2018. Karpathy, A recipe for training neural networks,
    2019 (the size of updates over that of weights).
"""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.downhill import SLOPE
from tb_losslens.analysis.early_decay import Decay, early_decay
from tb_losslens.analysis.early_decay_report import decay_finding
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.learned import Learned, learned
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.planned_end import planned_end
from tb_losslens.analysis.plateau_cuts import generalises
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.straight import Slopes, longest_way, slopes, thirds_read
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

ID = "lr_too_low"
REQUIRES: tuple[str, ...] = ("loss", "lr", SLOPE)

_OTHERS = (
    "plateau_scheduler", "vanishing_gradients", "bad_init", "loss_misuse", "lr_too_high", "exploding_gradients",
    "over_regularized", "label_noise",
)  # fmt: skip
"""Causes of a loss that hardly falls, or of updates that are small."""


def find(
    context: Context,
    *,
    least: int = 200,
    least_epochs: int = 5,
    errors: float = 5.0,
    straight: float = 1 / 3,
    moved: float = 0.5,
    gone: float = 0.1,
    held: float = 0.3,
    coming: float = 0.15,
    came: float = 0.5,
    half: float = 0.5,
) -> Outcome:
    """One finding, or how much the slope has flattened.

    Args:
        context: the run and its measurement.
        least: batches of a run that is judged.
        least_epochs: passes of it.
        errors: standard errors of the slope, from which on it is clear.
        straight: part of the earlier slope that is left at the end, at least.
        moved: updates of a parameter over its size, at most.
        gone: part of the loss of the best constant that is gone, at most.
        held: part of the highest LR that the LR is above for half of the run: else a decay may be why.
        coming: part of what was learned that was to come when a decay ended it.
        came: part of that which came after all, at most.
        half: part of the planned training, below which it is not judged.
    """
    run = context.run
    if len(run) < least or len(context.epochs) < least_epochs:
        short = f"{plural(len(run), 'batch')} in {plural(len(context.epochs), 'epoch')}"
        return Checked(ID, f"{short} are too few to tell a small LR from a short training")
    rate = filled(run.float("lr"))
    if not np.isfinite(rate).all() or not rate.max() > 0 or rate.min() < 0 or not np.isfinite(run.loss).all():
        return Skipped(ID, "the learning rate is 0, it or the loss is not known in each batch", "")
    other = next((name for name in _OTHERS if context.found(name) is not None), None)
    if other is not None:
        return Checked(ID, f"the highest LR is {number(float(rate.max()))}; a loss that hardly falls is told of by `{other}`")
    stopped, plan = context.found("early_stop_premature"), planned_end(run)
    if plan.part < half or (stopped is not None and stopped.strength == "likely"):
        why = plan.words if plan.part < half else f"the training was stopped after {plural(len(context.epochs), 'epoch')}"
        return Checked(ID, f"the highest LR is {number(float(rate.max()))}; {why}: what ends early ends as steeply as it began")
    decay = early_decay(run)
    if decay is not None and decay.too_early(errors=errors, least=coming, most=came):
        if _held_out_differs(run, decay):
            gone_at = percent(decay.row / len(run))
            return Checked(ID, f"the LR is gone after {gone_at} of the run, as the held-out loss asks for")
        return decay_finding(context, decay, ID)
    usual = median(rate)
    if usual < held * rate.max() or rate[-1] > 1.5 * usual:
        ends = f"half of the run has an LR of {number(usual)} or less, it ends at {number(float(rate[-1]))}"
        return Checked(ID, f"the LR goes up to {number(float(rate.max()))}, {ends}: what a lower or higher one does is mixed")
    thirds = thirds_read(run)
    seen = None if thirds is None else slopes(run, *thirds)
    if seen is None or not (math.isfinite(seen.before) and math.isfinite(seen.after)):
        return Skipped(ID, "the slope along the updates was read too seldom, or not in the later part of the run", "")
    if not seen.before < 0:
        return Checked(ID, f"the first updates go past the minimum along them: a slope of {number(seen.before)} for an LR of 1")
    flat = f"for the same LR {percent(max(0.0, seen.left))} of the first slope along the updates is left later"
    if seen.left < straight or seen.errors > -errors:
        return Checked(ID, flat)
    way, name = longest_way(run)
    if math.isnan(way):
        return Skipped(ID, f"{flat}, and the size of the updates was not recorded", how_to_record("layer_update_ratio"))
    far = f"the updates of `{name}` add up to {number(way)} times its size"
    level = learned(run)
    if way > moved:
        return Checked(ID, f"{flat}, but {far}")
    if level is None or not level.constant:
        return Skipped(ID, f"{flat}, and the loss of the best constant is not known", how_to_record("loss_identity"))
    if not level.part <= gone:
        return Checked(ID, f"{flat}, and {percent(level.part)} of the loss of the best constant are gone all the same")
    if _clipped(run):
        return Checked(ID, f"{far}: the gradients are clipped to a tenth and less")
    return _from_start(run, seen, way, far, level)


def _held_out_differs(run: Run, decay: Decay, *, least: int = 4) -> bool:
    """True if enough validations after the decay say that what was being learned did not hold for other samples."""
    after = [v for v in run.validations if v.batch > decay.row and math.isfinite(v.value)]
    return len(after) >= least and not generalises(run, decay.row, decay.learned, least=least)


def _clipped(run: Run) -> bool:
    before, after = run.float("grad_norm"), run.float("grad_norm_at_step")
    with np.errstate(all="ignore"):
        return bool(median(np.where(before > 0, after / before, np.nan)) <= 0.1)


def _from_start(run: Run, seen: Slopes, way: float, far: str, level: Learned) -> Finding:
    rate = median(run.float("lr"))
    factor = float(10 ** np.clip(math.ceil(math.log10(1 / max(way, 1e-3))), 1, 3))
    epoch = float(np.median([len(e) for e in run.epochs]))
    fall = -seen.after * rate * epoch
    evidence = (
        Evidence(
            f"{percent(seen.left)} of the first slope along the updates is left in the last third of them, for the same LR: "
            f"{number(-seen.errors, 2)} standard errors below 0 and more, over {plural(seen.count, 'update')}",
            SLOPE,
        ),
        Evidence(f"{far}, and no weights move more", "layer_update_ratio"),
        Evidence(f"the loss ends at {number(level.last)}, where that of the best constant is {number(level.start)}", "loss"),
    )
    return Finding(
        ID, "fault", "likely", "Learning rate too low",
        f"With a learning rate of {number(rate)} the training ends as steeply as it began, and no weights move by more than "
        f"{percent(way)} of their size: the loss falls by {number(fall)} an epoch and ends at {number(level.last)}, where that "
        f"of the best constant is {number(level.start)}.",
        score=0.75, steps=(int(run.step[0]),), explains_jump=False, evidence=evidence,
        against=(Evidence(f"a training that is to go on for {number(1 / way, 1)} times as long might begin like this"),),
        advice=f"Raise the LR up to {number(factor * rate)}, in factors of ten, while the loss gets lower within an epoch.",
        fix=f'for group in optimizer.param_groups:\n    group["lr"] = {factor * rate:.3g}      # was {rate:.3g}',
        confirm=f"Train one epoch with an LR of {number(10 * rate)}: the loss falls by about {number(10 * fall)} instead.",
    )  # fmt: skip
