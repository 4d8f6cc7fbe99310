"""Updates are larger than the loss allows, so it is thrown off its level, diverges, or learns nothing after it.

What it sees:
    The loss of each batch against that of an untrained output; the LR, the size of each update over that of the weights, the
    curvature of the loss along it, and the slope after it.

Why it matters:
    A step of plain gradient descent along a direction of curvature c makes things worse where the LR is above 2 / c. A little
    above, the loss swings and slowly grows; far above, the first updates throw the weights to where units are dead. Nothing
    is learned any more, though the loss comes back to that of a constant and looks like a plateau.

How it decides:
    First by harm. The loss stops being finite or ends far above where it began; or it exceeds 1.5 times the loss of the
    untrained output, over 64 samples at least, and ends at that of the best constant; or five times, and lasts ten batches.
    Then by the updates that led there: the curvature along them is above 2 / LR again and again (plain SGD without clipping,
    where noise alone gives 1 / LR at most), or after nine of ten the slope along the update is positive, so that the minimum
    lies behind it, or one is a tenth of the weights or more, or the loss leaps within ten batches from the start by updates
    that are not known to be smaller, or it grows tenfold over three batches or more on its way to what is no number. Where it
    is NaN at once, without a rise, only the first and an update as large as the weights count. None of that is the cause where
    something else begins before: a bad batch, gradients that nobody cleared, an LR that was raised, other inputs. Nor is it
    where the batch that is thrown off, or the one before, has inputs, targets or a class mix unlike those of the run, or the
    model is not in the mode it began in. From the start it is no more than possible where the loss of an untrained output is
    not known: weights that begin too large look alike.

What to try:
    A lower LR, by the curvature that was measured where there is one, else a tenth; a warm-up; clipping.

When it is wrong:
    A loss that is high from the first batch on is `bad_init`. A gradient that leaps before the loss is `exploding_gradients`. A
    plateau without an excursion is no sign of it. LRs that only make the floor noisier are not judged. False-alarm rate: none
    on healthy trainings so far.

References:
    Cohen et al., Gradient descent on neural networks typically occurs at the edge of stability, 2021. Smith, Cyclical learning
    rates for training neural networks, 2017.
"""

from __future__ import annotations

import math
from dataclasses import replace

from tb_losslens.analysis.blow_up import BlowUp, harm_of, mechanism_before
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Strength
from tb_losslens.analysis.learned import best_constant
from tb_losslens.analysis.own_data import other_mode, own_data
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.step_size import StepSize, step_size
from tb_losslens.analysis.text import number, percent, plural, times
from tb_losslens.store.run import Run

ID = "lr_too_high"
REQUIRES: tuple[str, ...] = ("loss", "lr")


def find(
    context: Context, *, least: int = 3, overshot: float = 0.9, large: float = 0.1, soon: int = 10, late: int = 20
) -> Outcome:
    """One finding, or how large the updates were.

    Args:
        context: the run and its measurement.
        least: updates along which the curvature is above 2 / LR.
        overshot: share of updates after which the slope along them is positive.
        large: size of an update over that of the weights.
        soon: batches from the start within which a leap is one by the first updates.
        late: an excursion after so many batches is one in the middle of the run.
    """
    run = context.run
    harm = harm_of(run)
    at_once = harm is not None and harm.row > soon and harm.kind != "nonfinite"
    at_once = at_once and harm is not None and 4 * median(run.loss[harm.row : harm.row + 5]) > harm.top
    steps = step_size(run, (harm.row if harm is not None else len(run)) + (0 if at_once else 25))
    if harm is None:
        size = f"; the last updates were {times(steps.largest)} the weights at most" if math.isfinite(steps.largest) else ""
        return Checked(ID, f"the loss is never thrown far above that of an untrained output{size}")
    rates = finite(run.float("lr")[: harm.row + 1])
    steps = replace(steps, lr=float(rates[-1]) if len(rates) else steps.lr)
    where = f"the loss is thrown off at step {int(run.step[min(harm.row, len(run) - 1)]):,}"
    named = mechanism_before(context, harm.row)
    if named is None and _rises(run, harm.row):
        named = context.found("lr_increase")
    if named is not None:
        return Checked(ID, f"{where}: a consequence of `{named.cause}`")
    for cause in ("exploding_gradients", "bad_init", "vanishing_gradients"):
        if context.found(cause) is not None:
            return Checked(ID, f"{where}: `{cause}` comes before it")
    if harm.kind == "excursion" and harm.row > soon:
        return Checked(ID, f"{where}, long after the start, and the loss comes back: what was trained on may do that")
    if not harm.row:
        return Checked(ID, "the loss is high before any update")
    data = own_data(run, harm.row)
    if data:
        return Checked(ID, f"{where}, where the data are unlike the rest: {data}")
    mode = other_mode(run, harm.row)
    if mode:
        return Checked(ID, f"{where}, where {mode}")
    if harm.risen:
        signs = _signs(run, harm, steps, least=least, overshot=overshot, large=large, soon=soon)
    else:  # without a rise before it, the data may be what is not finite
        signs = _signs(run, harm, steps, least=least, overshot=math.inf, large=10 * large, soon=-1)
    if not signs:
        return Checked(ID, f"{where}, and no update before it was too large by its curvature, its slope or its size")
    return _finding(run, harm, steps, signs, mid=harm.row > late)


def _rises(run: Run, row: int, *, within: int = 10, fold: float = 1.2) -> bool:
    """True if the LR rose in the batches right before `row`, however slowly the loss followed."""
    rates = finite(run.float("lr")[max(0, row - within) : row + 1])
    return len(rates) > 1 and bool(rates[-1] > fold * rates[0])


def _signs(
    run: Run, harm: BlowUp, steps: StepSize, *, least: int, overshot: float, large: float, soon: int
) -> list[Evidence]:
    """What says that the updates are too large."""
    span = (max(0, harm.row - 40), min(len(run), harm.row + 10))
    out = []
    if steps.beyond >= least:
        said = f"along {steps.beyond} of {plural(steps.read, 'update')} read there the curvature is above 2 / LR"
        out.append(Evidence(f"{said} = {number(2 / steps.lr)}; noise alone stays below 1 / LR", "curvature", span))
    if steps.overshot >= overshot:
        said = f"after {percent(steps.overshot)} of the updates the slope along them is positive"
        out.append(Evidence(f"{said}: they go past the minimum", "grad_dot_update", span))
    if steps.largest >= large:
        out.append(Evidence(f"an update was {times(steps.largest)} the weights in size", "update_ratio", span))
    if harm.row <= soon and not steps.largest < large:  # small updates do not make a loss leap: dropout may
        said = f"the loss leaps after {plural(harm.row, 'update')}, from {number(harm.before)}; the first batch had"
        out.append(Evidence(f"{said} {number(run.loss[0])}", "loss", (0, span[1])))
    grown = _growth(run, harm)
    if grown is not None:
        out.append(grown)
    return out


def _growth(run: Run, harm: BlowUp, *, batches: int = 3, fold: float = 10.0) -> Evidence | None:
    """A loss that grows from batch to batch: batches drawn at random do not get worse one after the other by themselves."""
    if harm.kind not in ("nonfinite", "diverged") or not harm.before > 0:
        return None
    known = finite(run.loss[harm.row : harm.row + 50])
    top = float(known.max()) if len(known) else 0.0
    if len(known) < batches or top < fold * harm.before or float(known[0]) ** 2 > top * harm.before:
        return None  # too few, too little, or there at once and no growth
    said = f"over {plural(len(known), 'batch')} it grows {times(top / harm.before)}, which no single batch does"
    return Evidence(said, "loss", (max(0, harm.row - 5), min(len(run), harm.row + len(known))))


_WHAT = {
    "nonfinite": "stops being finite",
    "diverged": "diverges and ends far above where it began",
    "stuck": "is thrown off, and nothing is learned after it",
    "excursion": "is thrown far off and takes long to come back",
}


def _finding(run: Run, harm: BlowUp, steps: StepSize, signs: list[Evidence], *, mid: bool) -> Finding:
    row = min(harm.row, len(run) - 1)
    step, span = int(run.step[row]), (max(0, row - 20), min(len(run), row + 40))
    top = "what no number holds" if math.isinf(harm.top) else number(harm.top)
    said = f"the loss goes from {number(harm.before)} to {top} from step {step:,} on"
    level = best_constant(run)[1]
    start = f"; an untrained output has {number(harm.start)}" if level else ""
    evidence = [Evidence(f"{said}{start}", "loss", span)]
    if harm.kind == "stuck":
        evidence.append(Evidence(f"it ends at {number(harm.after)}: nothing is learned after it", "loss"))
    elif harm.kind == "excursion":
        evidence.append(Evidence(f"it lies above 1.5 times that for {plural(harm.length, 'batch')}", "loss", span))
    evidence += signs
    rates = finite(run.float("lr")[: row + 1])
    if mid and len(rates) and rates[-1] > 1.2 * rates[0]:
        evidence.append(Evidence(f"the LR went from {number(rates[0])} to {number(rates[-1])} until then", "lr"))
    against = []
    if not steps.plain:
        against.append(Evidence("the limit of 2 / curvature holds for plain SGD and was not used: the optimiser is another"))
    if not level and not mid:
        against.append(Evidence("what an untrained output has is not known: a loss that begins too high would look the same"))
    lr, better = steps.lr, _better(steps)
    sure = (len(signs) > 1 or harm.kind in ("nonfinite", "diverged")) and (level or mid)
    strength: Strength = "likely" if sure else "possible"
    lasting = harm.kind in ("nonfinite", "diverged", "stuck")
    return Finding(
        ID, "fault", strength, "The learning rate is too high",
        f"At an LR of {number(lr)} the loss {_WHAT[harm.kind]}, from step {step:,} on.",
        detail="mid_run" if mid else "from_start", score=0.8 if len(signs) > 1 else 0.6, steps=(step,), explains_jump=lasting,
        evidence=tuple(evidence), against=tuple(against),
        advice=f"Lower the LR to about {better}, or rise to it over some hundred steps; clip the gradient norm.",
        fix=f"for group in optimizer.param_groups:\n    group['lr'] = {better.replace(',', '')}     # was {number(lr)}",
        confirm=f"Repeat the first {max(50, row + 20):,} batches with an LR of {better}: the loss falls without the excursion.",
    )  # fmt: skip


def _better(steps: StepSize) -> str:
    """The LR that the curvature bears, a tenth of the LR at most and a thousandth at least; a tenth where it is unknown."""
    tenth = steps.lr / 10
    if not math.isfinite(steps.allowed):
        return number(tenth, 2)
    return number(min(tenth, max(steps.allowed, steps.lr / 1000)), 2)
