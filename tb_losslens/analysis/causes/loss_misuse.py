"""The criterion is given what it is not made for: probabilities instead of logits, class numbers instead of amounts.

What it sees:
    `loss_identity` and `output_kind`: which function of output and target the loss is, and whether the output is probabilities,
    log probabilities, or within 0..1. The classes that came, and the losses of single samples.

Why it matters:
    Nothing fails: the loss falls, only not to where it could. Cross-entropy of probabilities cannot go below
    ln(1 + (C - 1) / e) with C classes, and its gradient fades as the output gets sure. The negative log-likelihood of logits
    has no lower end at all. Squared errors of class numbers make class 3 nearer to 4 than to 8. An output of shape (n, 1)
    against targets of shape (n,) compares each sample with the targets of all.

How it decides:
    By equality in nearly all batches that were tested. Proved: a cross-entropy whose outputs add up to 1 in each, one that is
    that of the softmax of its outputs, a negative log-likelihood of what is no log probability and that falls below 0,
    every output against every target. Likely: outputs within 0..1 in each batch where logits would not stay there, which is
    where they cannot even say how frequent the positives are, or press on the ends of what losses are possible, or have come
    nearer to the floor of the cross-entropy; and squared errors of whole numbers 0, 1, 2, ... that are equally frequent, which
    classes are and amounts are not, and from which the errors of the first samples are the distances. Possible: no function
    is known, and the losses press on the floor without going below.

What to try:
    The pair that belongs together: logits with `CrossEntropyLoss` or `BCEWithLogitsLoss`, log probabilities with `NLLLoss`,
    targets of the shape of the output.

When it is wrong:
    Log probabilities before `CrossEntropyLoss` change nothing, and are said to be harmless. Squared errors of ages, counts
    or ratings are right; whole numbers that are not equally frequent are said and not judged. Label smoothing has a floor
    of its own, and is known by its identity. False-alarm rate: none for equalities. A first loss that is too high with the
    right pair is `bad_init`.

References:
    PyTorch documentation, `CrossEntropyLoss`, `NLLLoss`, `BCEWithLogitsLoss`. Bridle, Probabilistic interpretation of
    feedforward classification network outputs, 1990.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.baselines import DISTANCES, SOFTMAX, classes_of, positive_share
from tb_losslens.analysis.class_numbers import are_names, are_targets
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped, Strength
from tb_losslens.analysis.loss_floor import floor_of, nearest_to_floor, presses_on_ends, presses_on_floor
from tb_losslens.analysis.loss_function import LOG_PROBABILITIES, PROBABILITIES, WITHIN_UNIT, LossFunction, loss_function
from tb_losslens.analysis.loss_repair import REPAIRS
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, percent, plural, times
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

ID = "loss_misuse"
REQUIRES: tuple[str, ...] = ("loss",)


@dataclass(frozen=True)
class _Found:
    detail: str
    strength: Strength
    evidence: tuple[Evidence, ...]


def find(
    context: Context, *, part: float = 0.9, least: int = 3, rare: float = 0.1, used: float = 0.3, even: float = 1.5
) -> Outcome:
    """One finding, or which function the loss is.

    Args:
        context: the run and its measurement.
        part: part of the batches tested in which an equality holds.
        least: batches in which it must have been tested.
        rare: how far the share of positives must be from what outputs within 0..1 can say.
        used: part of the way from the untrained loss to the floor that outputs within 0..1 must have come.
        even: most frequent class over rarest, up to which whole numbers are taken for classes.
    """
    run = context.run
    function = loss_function(run, part=part, least=least)
    if function is None:
        pressed = None if run.has("loss_identity") or _is_a_mean(context) else presses_on_floor(run)
        if pressed is not None:
            return _finding(run, _Found("softmax_before_cross_entropy", "possible", pressed))
        if run.has("loss_identity"):
            return Checked(ID, "the loss is none of the functions that are known, or not the same one throughout")
        how = how_to_record("loss_identity")
        return Skipped(ID, "which function of output and target the loss is was not recorded", how)
    found = _by_equality(run, function) or _by_range(run, function, rare, used) or _class_numbers(run, function, even)
    return Checked(ID, _fine(run, function)) if found is None else _finding(run, found)


_BROADCAST = {
    "mse_broadcast": "square",
    "mae_broadcast": "absolute value",
    "smooth_l1_broadcast": "smooth L1 loss",
    "huber_broadcast": "Huber loss",
}


def _by_equality(run: Run, function: LossFunction) -> _Found | None:
    """What an identity proves by itself, or with the kind of the output."""
    held, tested = len(function.rows), function.tested
    is_loss = f"in {held:,} of {plural(tested, 'batch')} tested the loss is"
    span = (int(function.rows[0]), int(function.rows[-1]) + 1)
    if function.name in _BROADCAST:
        of_all = f"the mean {_BROADCAST[function.name]} of every output less every target"
        said = f"{is_loss} {of_all}, not of each output less its own"
        return _Found("broadcast", "proved", (Evidence(said, "loss_identity", span),))
    if function.name == "cross_entropy_of_softmax":
        said = f"{is_loss} the cross-entropy of softmax(output), which takes the softmax a second time"
        evidence = (Evidence(said, "loss_identity", span), *nearest_to_floor(run, function))
        return _Found("softmax_before_cross_entropy", "proved", evidence)
    if function.name in ("cross_entropy", "cross_entropy_smoothed") and function.always(PROBABILITIES):
        said = f"{is_loss} the cross-entropy of the output, and the output is probabilities in each of them: they add up to 1"
        smoothed = function.name == "cross_entropy_smoothed"
        floor = () if smoothed else nearest_to_floor(run, function)
        return _Found("softmax_before_cross_entropy", "proved", (Evidence(said, "output_kind", span), *floor))
    if function.name == "nll" and not np.isin(function.kinds, (LOG_PROBABILITIES,)).any():
        below = run.loss[function.rows] < 0
        if 2 * below.sum() <= held:
            return None
        probable = function.always(PROBABILITIES)
        what = "probabilities" if probable else "no log probabilities: their exponentials do not add up to 1"
        said = f"{is_loss} the negative log-likelihood of the output, and the output is {what}"
        lowest = f"the loss goes down to {number(float(finite(run.loss).min()))}; a negative log-likelihood cannot go below 0"
        evidence = (Evidence(said, "output_kind", span), Evidence(lowest, "loss", span))
        return _Found("nll_of_probabilities" if probable else "nll_of_logits", "proved", evidence)
    if function.name == "bce_with_logits" and function.always(PROBABILITIES):
        said = f"{is_loss} the binary cross-entropy of the sigmoid of the output, and the output is probabilities already"
        return _Found("sigmoid_twice", "proved", (Evidence(said, "output_kind", span),))
    return None


def _by_range(run: Run, function: LossFunction, rare: float, used: float) -> _Found | None:
    """Outputs within 0..1 in each batch, where logits would have left that range."""
    if not function.always(WITHIN_UNIT, PROBABILITIES):
        return None
    span = (int(function.rows[0]), int(function.rows[-1]) + 1)
    said = f"every output of {plural(len(function.rows), 'batch')} tested is within 0..1; logits have no bounds"
    inside = Evidence(said, "output_kind", span)
    if function.name in ("cross_entropy", "cross_entropy_smoothed"):
        found = classes_of(run)
        if found is None or len(found.ids) < 3 or not found.complete or function.name != "cross_entropy":
            return None
        top, floor = math.log(len(found.ids)), floor_of(len(found.ids))
        late = median(run.loss[-max(10, len(run) // 10) :])
        if not top - late >= used * (top - floor):
            return None
        return _Found("sigmoid_before_cross_entropy", "likely", (inside, *nearest_to_floor(run, function)))
    if function.name != "bce_with_logits":
        return None
    share = positive_share(run)
    low, high = 0.5 - rare, 1 / (1 + math.exp(-1)) + rare
    if share < low or share > high:
        said = f"{percent(share)} of the targets are positive, and the sigmoid of such an output is 50 to 73{chr(0x202F)}%"
        return _Found("sigmoid_twice", "likely", (inside, Evidence(said, "target_mean")))
    ends = presses_on_ends(run, function)
    return None if ends is None else _Found("sigmoid_twice", "likely", (inside, ends))


def _class_numbers(run: Run, function: LossFunction, even: float) -> _Found | None:
    found = classes_of(run)
    if function.name not in ("mse", "mae") or found is None or not are_names(found, even):
        return None
    if not are_targets(run, function):
        return None  # of one-hot targets, or of an autoencoder, whose loader gives classes besides
    ends = f"{found.ids[0]} to {found.ids[-1]}"
    said = f"the targets are the whole numbers {ends}, each nearly as frequent as the others"
    ratio = f"(the most frequent {times(float(found.counts.max() / found.counts.min()))} the rarest)"
    error = "squared" if function.name == "mse" else "absolute"
    loss = f"in {len(function.rows):,} of {plural(function.tested, 'batch')} tested the loss is the {error} error of one output"
    return _Found("class_numbers", "likely", (Evidence(loss, "loss_identity"), Evidence(f"{said} {ratio}", "classes")))


def _is_a_mean(context: Context) -> bool:
    return any(context.found(cause) is not None for cause in ("running_mean", "smoothed_metric"))


def _fine(run: Run, function: LossFunction) -> str:
    name = function.name.replace("_", " ")
    said = f"in {len(function.rows):,} of {plural(function.tested, 'batch')} tested the loss is the {name} of the output"
    if function.name in SOFTMAX and function.always(LOG_PROBABILITIES):
        return f"{said}, which is log probabilities in each: the right pair, also with `CrossEntropyLoss`"
    found = classes_of(run)
    if function.name in ("mse", *DISTANCES) and found is not None and len(found.ids) > 2:
        ends = f"{found.ids[0]:,} to {found.ids[-1]:,}"
        judged = "where these are the targets, it is right for amounts and wrong for names"
        return f"{said}, and the loader gives whole numbers from {ends}: {judged}"
    return f"{said}, and the output is of the kind that it takes"


def _finding(run: Run, found: _Found) -> Finding:
    repair = REPAIRS[found.detail]
    missing = () if run.has("loss_identity") else (how_to_record("loss_identity"),)
    return Finding(
        ID, "fault", found.strength, repair.title, repair.text, detail=found.detail,
        score={"proved": 0.95, "likely": 0.75, "possible": 0.4}[found.strength],
        steps=(int(run.step[0]),), explains_jump=False, evidence=found.evidence, missing=missing, advice=repair.advice,
        fix=repair.fix, confirm=repair.confirm,
    )  # fmt: skip
