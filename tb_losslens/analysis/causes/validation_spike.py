"""The held-out loss rises at once at one validation, and comes back soon, slowly, or not at all.

What it sees:
    The held-out loss of each validation, its noise, the training loss between them, and what every other cause has found.

Why it matters:
    A spike is a symptom: what it asks for depends on why it is there. One that is gone two validations later needs a scheduler
    and a patience that do not react to it; one that stays is a model that was lost.

How it decides:
    A spike lies above the median of the three validations before it by a quarter of what was learned until then (and of that
    level), by six times the noise of those that are not high, and its step upwards is three times each one before it, so that a
    held-out loss that rises all the time is none. It is `transient` where it is back within two validations, `slow` where it
    comes back later, `not_recovered` where it does not, `at_end` where the run ends too soon to tell. The sub-cause is the
    first finding that acts between the validation before and this one, or one that goes on since before it. Its kind is that
    of the sub-cause; without one it is unknown, and it is never ranked above any other finding.

What to try:
    What the sub-cause says. Without one: keep the best weights, a patience longer than the spike, a larger validation set, and
    a probe.

When it is wrong:
    Fewer than five validations tell nothing. A validation on other samples each time spikes by chance; the noise of the others
    covers that where they do it as well. Two causes at once are reported as the first of them. False-alarm rate: none on 65
    healthy trainings.

References:
    Cawley and Talbot, On Over-fitting in Model Selection, 2010 (the noise of a selection criterion).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tb_losslens.analysis.batchnorm_gap import experiments
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Kind, Skipped, Strength
from tb_losslens.analysis.held_out_curve import Curve, held_out_curve, place
from tb_losslens.analysis.held_out_spikes import Spike, held_out_spikes, unit_of
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural, some
from tb_losslens.store.run import Run

ID = "validation_spike"
REQUIRES: tuple[str, ...] = ("loss",)

_PROBE = "writer.set_probe()     # tells a touched model, the data and the optimiser apart"
_NO_REASON = (
    "memorization", "epochal_sawtooth", "repeated_order", "repeated_augmentation", "early_stop_premature", "overfitting",
    "class_imbalance", "small_batch_noise", "lr_decrease", "batch_noise", "log_overlap",
)  # fmt: skip
"""Causes that say nothing on a single validation."""
_OF_THE_CURVE = ("running_mean", "smoothed_metric", "partial_last_batch")
"""Causes that, as artifacts, are in the curve of the training loss alone: the model, and what it is worth, are not touched."""
_TELLING = ("artifact", "fault", "planned")
_GOES_ON = ("missing_zero_grad", "exploding_gradients", "lr_too_high", "lr_increase", "wrong_mode")
"""Causes that act from their first step on."""


def find(
    context: Context, *, soon: int = 2, part: float = 0.25, noises: float = 6.0, least: int = 5
) -> Outcome | list[Outcome]:
    """One finding for the spikes of each sub-cause, or how far the highest value lies above those before it.

    Args:
        context: the run and its measurement.
        soon: validations within which a transient is back.
        part: of what was learned, that a spike exceeds.
        noises: of the held-out loss, that it exceeds.
        least: validations that are needed.
    """
    run, curve = context.run, held_out_curve(context)
    if curve is None:
        return Skipped(ID, "no validation with a value was recorded", 'val_loader = writer.wrap(val_loader, split="val")')
    if len(curve) < least:
        return Checked(ID, f"{plural(len(curve), 'validation')} with a value are too few to tell a spike from noise")
    spikes = held_out_spikes(curve, part=part, noises=noises)
    if not spikes:
        return Checked(ID, _calm(curve))
    groups: dict[int, tuple[Finding | None, list[Spike]]] = {}
    for spike in spikes:
        reason = _sub_cause(context, curve, spike)
        groups.setdefault(id(reason), (reason, []))[1].append(spike)
    return [_finding(run, curve, reason, members, soon) for reason, members in groups.values()]


def _calm(curve: Curve) -> str:
    """The highest step from one validation to the next, as a part of what was learned."""
    steps = [float(b - a) for a, b in zip(curve.value, curve.value[1:], strict=False)]
    k = max(range(len(steps)), key=lambda i: steps[i])
    unit = unit_of(curve.start, float(curve.value[k]))
    size = f", {percent(min(max(steps[k], 0.0) / unit, 9.99))} of what was learned" if unit > 0 and math.isfinite(unit) else ""
    most = f"rises by {number(max(steps[k], 0.0))} at most"
    return f"the held-out loss {most} from one of {len(curve):,} validations to the next{size}"


def _sub_cause(context: Context, curve: Curve, spike: Spike) -> Finding | None:
    """The first finding that acts between the validation before a spike and the spike, or that goes on since before it."""
    run, k = context.run, spike.first
    row, before = int(curve.rows[k]), int(curve.rows[k - 1])
    last, since = int(run.step[max(row - 1, 0)]), int(run.step[min(max(before, 0), len(run) - 1)])
    own = curve.validations[k].step
    going_on: Finding | None = None
    for outcome in context.earlier:
        if not isinstance(outcome, Finding) or outcome.cause in _NO_REASON or outcome.kind not in _TELLING:
            continue
        if outcome.kind == "artifact" and outcome.cause in _OF_THE_CURVE:
            continue
        steps = outcome.steps or tuple(context.boundaries[b].step for b in outcome.boundaries)
        of_validations = outcome.cause in ("batchnorm_drift", "validation_aggregation") or "validation" in outcome.detail
        if any(since <= s <= last for s in steps) or (of_validations and own in steps):
            return outcome
        if steps and outcome.cause in _GOES_ON and min(steps) <= last and not of_validations and outcome.explains_jump:
            going_on = going_on or outcome
    return going_on


def _class(curve: Curve, spike: Spike, soon: int) -> str:
    if spike.back is not None:
        return "transient" if spike.back - spike.first <= soon else "slow"
    return "at_end" if len(curve) - spike.first <= soon else "not_recovered"


_WORSE = ("transient", "at_end", "slow", "not_recovered")


def _finding(run: Run, curve: Curve, reason: Finding | None, spikes: Sequence[Spike], soon: int) -> Finding:
    classes = [_class(curve, spike, soon) for spike in spikes]
    detail = max(classes, key=_WORSE.index)
    worst = max(spikes, key=lambda spike: spike.part)
    kind: Kind = reason.kind if reason is not None else "unknown"
    strength: Strength = "likely" if reason is not None and reason.strength != "possible" else "possible"
    often = f", and at {plural(len(spikes) - 1, 'other place')}" if len(spikes) > 1 else ""
    why = f" It comes with `{reason.cause}`: {reason.title}." if reason is not None else " Nothing that was recorded says why."
    seen = experiments(run, curve)
    evidence = [_as_evidence(curve, run, spike, one) for spike, one in zip(spikes[:3], classes, strict=False)]
    evidence.append(_of_training(run, curve, worst))
    evidence += [Evidence(f"`{reason.cause}`: {reason.text}")] if reason is not None else []
    pair = seen[worst.first].heldout
    if reason is None and pair is not None:
        both = f"{number(pair.eval)} in evaluation mode and {number(pair.batch)} with BatchNorm on the statistics of the batch"
        evidence.append(Evidence(f"the loss of the probe's held-out batch at it: {both}"))
    lasts = max((s.back if s.back is not None else len(curve)) - s.first for s in spikes)
    return Finding(
        ID, kind, strength, "The held-out loss spikes",
        f"The held-out loss spikes {place(run, curve.validations[worst.first])}, from {number(worst.level)} to "
        f"{number(worst.level + worst.excess)}{often}, {_ends(curve, worst)}.{why}",
        detail=detail, score=0.3 if reason is None else 0.5,
        steps=tuple(int(run.step[max(0, int(curve.rows[s.first]) - 1)]) for s in spikes[:50]),
        explains_jump=False, evidence=tuple(evidence),
        against=(Evidence("it is a symptom of the validation, and explains no jump of the training loss"),),
        missing=(_PROBE,) if reason is None and not any(one.heldout or one.train for one in seen) else (),
        advice=reason.advice if reason is not None else "Keep the weights with the best held-out loss, and let neither a "
        "scheduler nor a patience react to a single validation; set a probe to learn what it is.",
        fix=reason.fix if reason is not None else _FIX.format(lasts=lasts, patience=lasts + 1),
        confirm=f"Validate the weights of that moment ({place(run, curve.validations[worst.first])}) again, on other held-out "
        "samples and on training samples in evaluation mode: this tells the model from the data.",
    )  # fmt: skip


_FIX = (
    "scheduler = ReduceLROnPlateau(optimizer, patience={patience})     # the spike lasts {lasts} of the validations\n"
    "if value < best:\n"
    "    best = value\n"
    '    torch.save(model.state_dict(), "best.pt")'
)


def _ends(curve: Curve, spike: Spike) -> str:
    if spike.back is not None:
        return f"and is back {plural(spike.back - spike.first, 'validation')} later"
    return f"and is not back {plural(len(curve) - 1 - spike.first, 'validation')} later, where the run ends"


def _as_evidence(curve: Curve, run: Run, spike: Spike, kind: str) -> Evidence:
    size = f"{percent(min(spike.part, 9.99))} of what was learned"
    loud = f", {number(spike.noises, 2)} times the noise of the other validations" if math.isfinite(spike.noises) else ""
    row = int(curve.rows[spike.first])
    said = f"{place(run, curve.validations[spike.first])} it is {number(float(curve.value[spike.first]))}, after "
    before = some([number(float(v)) for v in curve.value[max(0, spike.first - 3) : spike.first]])
    return Evidence(f"{said}{before}: {size}{loud} ({kind.replace('_', ' ')})", "loss", (max(0, row - 20), row))


def _of_training(run: Run, curve: Curve, spike: Spike, *, count: int = 20) -> Evidence:
    """What the training loss does beside it."""
    row, before = int(curve.rows[spike.first]), int(curve.rows[spike.first - 1])
    near, usual = median(run.loss[max(before, row - count) : row]), median(run.loss[max(0, before - count) : before])
    moves = near - usual > 0.25 * spike.excess
    said = f"the training loss right before it is {number(near)}, and was {number(usual)} before the validation before"
    return Evidence(f"{said}: it {'rises as well' if moves else 'stays in trend'}", "loss", (max(0, row - count), row))
