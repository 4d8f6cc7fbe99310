"""The training was stopped early although the held-out loss was still falling, behind its noise.

What it sees:
    The held-out loss of each validation, the training loss between them, and how much of the plan was trained: the epochs or
    the patience of `config`, the length of the schedule, a note on the stop.

Why it matters:
    A patience that is shorter than the pauses which noise makes between two bests stops by chance, mostly early, where each
    epoch brings most. Nothing in the curve shows what it would have reached.

How it decides:
    The training must be known to have ended before its plan, or exactly as many validations after its best as the patience
    says. Then the last held-out losses, twice as many as it waited (and three at least), must lie below as many before them
    by two and a half standard errors, with the noise taken from second differences: the best was no end. The last ones must
    not lie above the best by more than noise, and the training loss must fall too. The patience that is advised is the number
    of validations in which that fall grows to three noises, and more than the one that stopped it.

What to try:
    A longer patience, a larger validation set, or the mean of three validations in the place of one; then go on from the best.

When it is wrong:
    A run that was broken off by hand or by a time limit ends in the same way, and the same is true of it: it was still
    falling. A plan that was never meant to be reached, with a patience, is right to be left: then the loss has flattened. It
    cannot be told where no plan is known. A held-out loss that rises is `overfitting`. False-alarm rate: none where the plan
    is reached.

References:
    Prechelt, Early Stopping - But When?, 1998.
"""

from __future__ import annotations

import math

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped, Strength
from tb_losslens.analysis.held_out_curve import Curve, held_out_curve, place
from tb_losslens.analysis.patience import Trend, keeps_best, patience_for, stop_of, trend
from tb_losslens.analysis.planned_end import PlannedEnd, planned_end
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run

ID = "early_stop_premature"
REQUIRES: tuple[str, ...] = ("loss",)

_HOW = 'writer.watch(model, optimizer, config={"epochs": epochs, "patience": patience})'


def find(context: Context, *, errors: float = 2.5, reached: float = 0.8, noises: float = 3.0) -> Outcome:
    """One finding, or what a patience would have done.

    Args:
        context: the run and its measurement.
        errors: standard errors by which the later held-out losses must go on falling.
        reached: part of the plan from which on it counts as done.
        noises: of the last held-out losses above the best median, from which on they have risen.
    """
    run, curve = context.run, held_out_curve(context)
    if curve is None:
        return Skipped(ID, "no validation with a value was recorded", 'val_loader = writer.wrap(val_loader, split="val")')
    if run.live or (run.sessions and run.sessions[-1].get("closed") is False):
        return Checked(ID, f"the training has not come to an end of its own, after {plural(len(curve), 'validation')}")
    plan = planned_end(run)
    waited = len(curve) - 1 - int(curve.value.argmin())
    if plan.part >= reached:
        return Checked(ID, f"{plan.words}: {_what_if(run, curve)}")
    if not (plan.part < reached or plan.noted or (plan.patience and waited == plan.patience)):
        return Skipped(ID, f"it is not known whether the training ended as planned; {_what_if(run, curve)}", _HOW)
    slope = trend(curve.value, curve.noise, max(3, 2 * waited))
    if slope is None:
        few = plural(len(curve), "validation")
        return Checked(ID, f"{_ended(plan, waited)}, but {few} are too few to tell if the held-out loss had flattened")
    if slope.errors < errors:
        return Checked(ID, f"{_ended(plan, waited)}, and the held-out loss does not fall beyond its noise: {_fell(slope)}")
    above = median(curve.value[-min(curve.window, waited) :]) - float(curve.smooth.min()) if waited else 0.0
    if above > noises * curve.noise:
        return Checked(ID, f"{_ended(plan, waited)}, and the last held-out losses lie {number(above)} above the best")
    third = max(1, len(curve) // 3)
    if not median(curve.train[-third:]) < median(curve.train[-2 * third : -third]):
        return Checked(ID, f"{_ended(plan, waited)}, and the training loss did not fall any more")
    return _finding(run, curve, plan, slope, waited)


def _ended(plan: PlannedEnd, waited: int) -> str:
    said = plan.words or f"the patience of {plan.patience} was spent"
    said = "a note says that it was stopped early" if plan.noted and not plan.words else said
    return f"{said}, {plural(waited, 'validation')} after the best"


def _fell(slope: Trend) -> str:
    size = f"{number(slope.fall)} or {number(slope.errors, 2)} standard errors"
    return f"its last {plural(slope.count, 'value')} lie {size} below as many before them"


def _what_if(run: Run, curve: Curve) -> str:
    """What shorter patiences would have kept, in words."""
    enough = keeps_best(curve.value)
    best = int(curve.value.argmin())
    said = f"a patience of {plural(enough, 'validation')} keeps the best held-out loss, {number(curve.value[best])}"
    if enough < 2:
        return said
    short = stop_of(curve.value, enough - 1)
    missed = curve.value[short.best] - curve.value[best]
    where = place(run, curve.validations[short.at or 0])
    return f"{said}; one of {enough - 1} stops {where} and misses {number(missed)}"


def _finding(run: Run, curve: Curve, plan: PlannedEnd, slope: Trend, waited: int) -> Finding:
    last, row, noise = len(curve) - 1, int(curve.rows[-1]), curve.noise
    low = number(float(curve.value.min()))
    advised = max(patience_for(noise, slope.each), waited + 1, keeps_best(curve.value))
    third = max(1, len(curve) // 3)
    late, early = median(curve.train[-third:]), median(curve.train[-2 * third : -third])
    span = (int(curve.rows[max(0, last - 2 * third)]), row)
    evidence = [
        Evidence(_ended(plan, waited)),
        Evidence(f"{_fell(slope)}: it was still falling by {number(slope.each)} from one validation to the next"),
        Evidence(f"the noise from one validation to the next is {number(noise)}, {number(noise / slope.each, 2)} times that"),
        Evidence(f"the training loss falls from {number(early)} to {number(late)} over the last validations", "loss", span),
        Evidence(_what_if(run, curve)),
    ]
    against = [Evidence("it is about what was not trained, and explains no jump of the training loss")]
    if not plan.noted and not plan.patience:
        against.append(Evidence("nothing says who stopped it: it may have been broken off"))
    strength: Strength = "likely" if math.isfinite(plan.part) or plan.noted else "possible"
    rest = f" Of the plan {percent(1 - plan.part)} was left." if math.isfinite(plan.part) else ""
    return Finding(
        ID, "fault", strength, "Stopped early while the held-out loss was still falling",
        f"The training ended {place(run, curve.validations[last])}, {plural(waited, 'validation')} after its best held-out "
        f"loss ({low}), while that was still falling by {number(slope.each)} each time behind a noise of {number(noise)}."
        + rest,
        score=0.7 if strength == "likely" else 0.4, steps=(int(run.step[min(row, len(run)) - 1]),),
        explains_jump=False, evidence=tuple(evidence), against=tuple(against),
        advice=f"Go on with a patience of {plural(advised, 'validation')}, in which the fall outgrows the noise; or validate "
        "on more samples, or compare medians of three validations.",
        fix=(
            f"patience, best, waited = {advised}, float(\"inf\"), 0      # it ended {waited} after the best\n"
            "for epoch in range(epochs):\n"
            "    train_one_epoch(model, train_loader)\n"
            "    recent = [*recent, validate(model, val_loader)][-3:] if epoch else [validate(model, val_loader)]\n"
            "    value = sorted(recent)[len(recent) // 2]                 # the median of three\n"
            "    best, waited = (value, 0) if value < best else (best, waited + 1)\n"
            "    if waited >= patience:\n"
            "        break"
        ),
        confirm=f"Go on from the last state for {plural(advised, 'validation')}: the held-out loss falls below {low}.",
    )  # fmt: skip
