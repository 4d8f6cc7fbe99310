"""Dropout or weight decay takes away what the model learns, from the start or from an epoch on.

What it sees:
    The rates of dropout modules and the weight decay of the optimiser at each epoch, the norm of the weights, the training
    loss, and a loss in evaluation mode: that of the probe, else the held-out one.

Why it matters:
    Both are there to make a little harder what need not be learned. Too much of either, and the loss stays near that of a
    constant; raised in the middle of a training, it throws the loss up, though nothing is wrong with the data or the LR.

How it decides:
    A rate that is raised at a boundary is an equality: where it is all that changed there, nobody noted it, and the loss jumps
    up with it or lies higher in each epoch after it, it is why. Constant dropout is judged by
    experiment: the same weights know twice as much in evaluation mode, and less than half was learned in training mode. The
    probe has the same samples for both, and is asked from a rate of a half on; the held-out loss from 0.7 on; from 0.8 on it is
    enough that nothing was learned in either, or less than a quarter in training mode, where a quarter of what the same weights
    know is taken away. Weight decay is judged by the half-life of the weights under it alone, ln 2 (1 -
    momentum) / (lr wd), where that is below half an epoch, or for optimisers that mix it with the gradient by its pull, where
    that is larger than the gradient in the first batches; the weights must have shrunk to half, and less than a quarter be
    learned. Or, with SGD, the decay holds them where the loss is steep: while their norm stays, what it takes is what the
    gradient adds, which gives the slope of the loss along them, and for each tenth that they grew the loss would fall by a
    tenth and more of all that was learned.

What to try:
    Less dropout, or less weight decay, by the numbers below; a note where a change is meant.

When it is wrong:
    A change that is meant and not noted looks the same; one with others at the same boundary is `planned_change`, which does
    not choose. Labels that are wrong, or augmentation, in training alone raise the training loss above the held-out one as
    well: the probe, `writer.set_probe()`, tells them from dropout, since it has the same samples. Dropout that is no module is
    not seen. Labels without a signal, gradients that vanish (`vanishing_gradients`) and a bad LR leave a loss at its constant,
    too; the gradients are asked first. `python -m demo.healthy` counts false alarms.

References:
    Srivastava et al., Dropout, 2014. Loshchilov and Hutter, Decoupled weight decay regularization, 2019. van Laarhoven, L2
    regularization versus batch and weight normalization, 2017 (the rate at which weights decay).
"""

from __future__ import annotations

import math

from tb_losslens.analysis.both_modes import BothModes, in_both_modes
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.inside_report import raised_inside
from tb_losslens.analysis.learned import Learned, learned
from tb_losslens.analysis.raised_report import raised_report
from tb_losslens.analysis.regularization import (
    dropout_rate,
    half_life,
    held_back,
    pull,
    raises,
    setting_code,
    settings_of,
    shrunk,
    weight_decay,
)
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, times
from tb_losslens.store.run import Run

ID = "over_regularized"
REQUIRES: tuple[str, ...] = ("loss",)

_HOW = "writer.watch(model, optimizer, criterion=criterion)"


def find(
    context: Context,
    *,
    rates: tuple[float, float, float] = (0.5, 0.7, 0.8),
    hidden: float = 0.5,
    half: float = 0.5,
    epochs: float = 0.5,
    shrinks: float = 0.5,
    quarter: float = 0.25,
    costs: float = 1.0,
) -> Outcome | list[Outcome]:
    """Findings for rates that are raised, else one for what is there all along, else what there is.

    Args:
        context: the run and its measurement.
        rates: of the strongest dropout module: judged by a probe; without one; and where nothing was learned in either mode.
        hidden: part of what the weights know in evaluation mode that dropout takes away.
        half: part of the best constant's loss that was learned in training mode, at most, under dropout.
        epochs: half-life of the weights.
        shrinks: norm of the weights at the end over that at the start.
        quarter: the same as `half` under weight decay; from the last of the `rates` on also as `half` and `hidden` together.
        costs: slope of the loss along weights that decay keeps where they are, over what was learned.
    """
    settings = settings_of(context.run)
    if not settings:
        return Skipped(ID, "the settings of model and optimiser were not read", _HOW)
    raised = raises(context.run, context.boundaries)
    found = [one for kind, items in raised.items() for item in items if (one := raised_report(context, ID, kind, item))]
    found += raised_inside(context, ID)
    if found:
        return [*found]
    if any(context.found(cause) is not None for cause in ("vanishing_gradients", "bad_init", "loss_misuse")):
        return Checked(ID, "another cause keeps the model from learning")
    began = settings_of(context.run, first=True)  # what came later was not there all along
    rate, decay = (min(of(settings), of(began)) for of in (dropout_rate, weight_decay))
    dropped = _by_dropout(context, rate, rates=rates, hidden=hidden, half=half, quarter=quarter)
    if isinstance(dropped, Finding):
        return dropped
    life = half_life(context.run, settings)
    decayed = _by_decay(context, decay, life, epochs=epochs, shrinks=shrinks, quarter=quarter, costs=costs)
    return decayed if isinstance(decayed, Finding) else Checked(ID, f"{dropped}; {decayed}")


def _by_dropout(
    context: Context, most: float, *, rates: tuple[float, float, float], hidden: float, half: float, quarter: float
) -> Finding | str:
    """The finding for constant dropout, or what there is."""
    least, without_probe, alone = rates
    if most < least:
        return f"the highest dropout rate is {number(most)}" if most > 0 else "there is no dropout module"
    run = context.run
    part, pair = learned(run), in_both_modes(run)
    said = f"dropout is {number(most)}"
    if part is None or pair is None or not part.start > 0:
        return f"{said}, and no loss in evaluation mode is known"
    came = 1 - part.last / part.start
    known = part.start - pair.evaluation  # what the weights know
    stuck = part.constant and most >= alone and max(came, known / part.start) < 0.1
    lost = (pair.training - pair.evaluation) / known if known > 0.1 * part.start else 0.0
    levels = f"{number(pair.training)} in training mode, and {number(pair.evaluation)} in evaluation mode, {pair.whose}"
    strong = most >= alone and lost > quarter and came < quarter
    if not stuck and not strong and not (lost > hidden and came < half):
        return f"{said}; the loss is {levels}, after {number(part.start)} at first"
    if not stuck and not pair.probed and most < without_probe:
        return f"{said}; the loss is {levels}: dropout, wrong labels or augmentation, which writer.set_probe() would tell"
    return _dropped(context, most, pair, part, lost=None if stuck else lost)


def _dropped(context: Context, most: float, pair: BothModes, part: Learned, *, lost: float | None) -> Finding:
    """`lost` is None where nothing was learned in either mode."""
    end, base = number(part.last), "that of the best constant" if part.constant else "the first one"
    levels = f"{number(pair.training)} in training mode, and {number(pair.evaluation)} in evaluation mode, {pair.whose}"
    evidence = [
        Evidence(f"the highest dropout rate is {number(most)}"),
        Evidence(f"{'by experiment, ' if pair.probed else ''}the loss is {levels}", "loss"),
        Evidence(f"the training loss ends at {end}, and {base} is {number(part.start)}", "loss"),
    ]
    against = [Evidence("it is there from the first batch on, and explains no jump at a boundary")]
    if lost is None:
        against.append(Evidence("inputs without a signal would leave the loss there as well"))
        more = "."
    else:
        evidence.append(Evidence(f"dropout takes away {percent(lost)} of what the same weights know in evaluation mode"))
        more = f", and the same weights have {number(pair.evaluation)} in evaluation mode."
        if not pair.probed:
            against.append(Evidence("held-out samples are others: wrong labels or augmentation would add to the distance"))
    return Finding(
        ID, "fault", "likely", "Too much dropout: little is learned in training mode",
        f"With dropout at {number(most)} the training loss ends at {end}, where {base} is {number(part.start)}{more}",
        detail="dropout", score=0.8 if pair.probed else 0.6, steps=(int(context.run.step[0]),), explains_jump=False,
        evidence=tuple(evidence), against=tuple(against), missing=() if pair.probed else ("writer.set_probe()",),
        advice=f"Take half of the rate, {number(most / 2)}, or a fifth of it where the model is small for its task.",
        fix=setting_code("dropout", most / 2, f"it was {number(most)}"),
        confirm=f"Train an epoch with dropout at {number(most / 5, 1)}: the training loss falls below {end}.",
    )  # fmt: skip


def _by_decay(
    context: Context, decay: float, life: float, *, epochs: float, shrinks: float, quarter: float, costs: float
) -> Finding | str:
    """The finding for constant weight decay, or what there is."""
    if not decay > 0:
        return "there is no weight decay"
    run = context.run
    each = len(run) / max(1, len(context.epochs))
    by = f"weight decay is {number(decay)}"
    force = math.nan
    if math.isfinite(life):
        said = f"{by}, with a half-life of the weights of {number(life / each)} epochs ({number(life)} steps)"
        strong = life < epochs * each and life < len(run) / 4
    else:
        force = pull(run, decay)
        said = f"{by}, {times(force)} the gradient in the first batches" if math.isfinite(force) else by
        strong = force > 1
    left, part = shrunk(run), learned(run)
    if not strong or part is None or not part.start > 0:
        return said
    came, slope = 1 - part.last / part.start, held_back(run, settings_of(run))
    held = part.last < part.start and slope >= costs * (part.start - part.last)
    if not (left < shrinks and (came < quarter or held)):
        return f"{said}; the weights are {times(left)} as large at the end, and {percent(max(came, 0.0))} of the loss is gone"
    advised = decay * life / (20 * each) if math.isfinite(life) else decay / (100 * force)
    slope = slope if came >= quarter else math.nan
    return _decayed(run, part, said, left, slope=slope, decay=decay, advised=advised, life=life)


def _decayed(
    run: Run, part: Learned, said: str, left: float, *, slope: float, decay: float, advised: float, life: float
) -> Finding:
    """`slope` is that of the loss along the weights where these learn, and are held back; NaN where little was learned."""
    base, end = "of the best constant" if part.constant else "of the first batches", number(part.last)
    if math.isfinite(slope):
        title = "Too much weight decay: it holds the weights where the loss is steep"
        gain = f"it takes as much from the weights as the gradient adds: the loss falls by {number(slope / 10)} at first for "
        gain += f"each tenth that they grow, beside {number(part.start - part.last)} that was learned in all"
        ends = f"the loss stays at {end}, though it would fall by {number(slope / 10)} at first if they were a tenth larger."
        against = Evidence("a penalty is meant to cost some of the training loss: how much is a choice")
        confirm = f"Train one epoch from the end without weight decay: the loss must fall far below {end}."
    else:
        title, gain = "Too much weight decay: the weights fade as fast as they learn", ""
        ends = f"the loss stays at {end}, where that {base} is {number(part.start)}."
        against = Evidence("inputs without a signal would leave the loss there as well")
        confirm = "Train one epoch without weight decay: the loss must leave the level of the constant."
    return Finding(
        ID, "fault", "likely" if part.constant else "possible", title,
        f"{said[0].upper()}{said[1:]}; the norm of the weights goes to {times(left)}, and {ends}",
        detail="weight_decay", score=0.8, steps=(int(run.step[0]),), explains_jump=False,
        evidence=(
            Evidence(f"{said}, at a median LR of {number(median(run.float('lr')))}", "lr"),
            Evidence(f"the norm of the weights goes to {times(left)} of that at first", "weight_norm"),
            Evidence(f"the loss ends at {end}; that {base} is {number(part.start)}", "loss"),
            *([Evidence(gain, "grad_norm")] if gain else []),
        ),
        against=(Evidence("it is there from the first batch on, and explains no jump at a boundary"), against),
        advice=f"Take a weight decay of about {number(advised, 1)}: the decay alone then takes 20 epochs to halve the weights."
        if math.isfinite(life)
        else f"Take a weight decay of about {number(advised, 1)}, a hundredth of the gradient; or AdamW, which parts the two.",
        fix=setting_code("weight_decay", float(f"{advised:.1g}"), f"it was {number(decay)}"),
        confirm=confirm,
    )  # fmt: skip
