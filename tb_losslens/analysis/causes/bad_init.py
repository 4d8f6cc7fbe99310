"""The first loss lies far above that of an output that knows nothing: the weights begin too large.

What it sees:
    The loss of the first batch, before any update, and of its single samples; which function of output and target it is;
    classes and targets; mean and spread of the inputs; how fast the loss falls then.

Why it matters:
    A model that knows nothing should say so: ln C with C classes, the mean square of the targets in a regression. Outputs that
    are large from the start are sure and wrong. The first steps are spent on taking that back, with gradients of a size
    that the rest of the run does not have, and saturated units may never recover.

How it decides:
    By a level that does not depend on the run's own course. The mean loss of the first 32 samples or more, less two standard
    errors, and that of the first batch alone, are more than twice the loss of the untrained output; and they are above it by
    more than outputs as large as the inputs, or as 1, explain: by 1.5 times that in a cross-entropy, where in a regression the
    output itself is more than 3 times as large as targets and inputs. And half of the excess is gone within an epoch or 100
    batches, as it is where only the scale was wrong, or the loss stops being finite.

What to try:
    The default initialisation, or one that keeps the scale from layer to layer (Kaiming, Xavier); a last layer that begins at
    zero; targets in units of about 1.

When it is wrong:
    Weights of the classes or of the positives move the first level: such a loss is not judged. More classes in the model than
    in the data begin at ln C of the model: the losses of single samples are then nearly equal, and it is no finding. Inputs far
    from unit size give large outputs with any weights: said, and not judged. A state that was loaded is no initialisation.
    False-alarm rate: none on healthy trainings so far. A loss that leaps after the first update is `lr_too_high` or
    `exploding_gradients`.

References:
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010. He et al., Delving deep
    into rectifiers, 2015.
"""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.baselines import BINARY, SOFTMAX, Baselines, baselines, classes_of
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.first_loss import FirstLoss, first_loss, trained_before
from tb_losslens.analysis.loss_function import LossFunction, loss_function
from tb_losslens.analysis.stats import Floats, finite, median
from tb_losslens.analysis.text import number, percent, plural, times
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

ID = "bad_init"
REQUIRES: tuple[str, ...] = ("loss", "loss_identity")


def find(
    context: Context,
    *,
    fold: float = 2.0,
    errors: float = 2.0,
    beyond: float = 1.5,
    size: float = 3.0,
    uneven: float = 0.25,
    vocabulary: float = 12.0,
) -> Outcome:
    """One finding, or how far the first loss is from that of an output that knows nothing.

    Args:
        context: the run and its measurement.
        fold: times the loss of the untrained output.
        errors: standard errors of the first loss that are taken off it.
        beyond: how far a cross-entropy lies above that, in the size of the inputs (1 at least).
        size: size of the outputs of a regression over that of targets and inputs (1 at least).
        uneven: standard deviation of the losses of the first samples over their mean, at least: a model of more classes
            than are in use begins with losses that are nearly equal.
        vocabulary: a loss above this, in nats, is that of no number of classes in use, however equal its samples are.
    """
    run = context.run
    function = loss_function(run, least=1)
    if function is None or function.name not in (*SOFTMAX, *BINARY, "mse"):
        return Checked(ID, "the first loss has no level to compare with: the loss is none of the functions that have one")
    if context.found("loss_misuse") is not None:
        return Checked(ID, "the criterion is given what it is not made for, so its first loss says nothing of the weights")
    if _is_weighted(run):
        return Checked(ID, "the criterion weighs its classes, which moves the loss of the untrained output")
    before = trained_before(run)
    if before:
        return Checked(ID, f"{before}: the first loss is not that of an initialisation")
    first, base = first_loss(run, function), _base(run, function)
    if first is None or base is None:
        why, name = ("the loss of the first batch", "loss_identity") if first is None else ("the targets", "classes")
        return Skipped(ID, f"needs {why}, which was not recorded", how_to_record(name))
    said = f"the first loss is {number(first.level)} over {plural(first.samples, 'sample')}, that of the untrained output"
    spread = _spread(run)
    sure = min(first.alone, first.level - (errors * first.error if math.isfinite(first.error) else 0.0))
    equal = math.isfinite(spread) and spread < uneven and (sure <= vocabulary or function.name == "mse")
    if not sure > fold * base.untrained or equal:
        return Checked(ID, f"{said} is {base.said}")
    inputs = _size_of_inputs(run)
    if function.name == "mse":
        output, limit = math.sqrt(sure) - math.sqrt(base.untrained), size * max(inputs, math.sqrt(base.untrained))
    else:
        output, limit = sure - base.untrained, beyond * inputs
    if not output > limit:
        return Checked(ID, f"{said} is {base.said}; inputs of the size {number(inputs)} give as much with usual weights")
    reach = max(100, len(context.epochs[0]) if context.epochs else 0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        curve = run.loss * (first.alone / run.loss[0])  # in the unit of the first, whatever is done to the loss after it
    later = _later(curve, reach)
    if math.isfinite(later) and not later < first.level - 0.5 * (first.level - base.untrained):
        slow = f"it does not fall at once ({number(later)} after {plural(reach, 'batch')})"
        return Checked(ID, f"{said} is {base.said}, but {slow}")
    return _finding(run, first, base, curve, later=later, reach=reach, regression=function.name == "mse")


def _base(run: Run, function: LossFunction, *, vocabulary: float = 12.0) -> Baselines | None:
    """The level of the untrained output; where not every class was counted, that of a vocabulary larger than any in use."""
    base = baselines(run, function)
    if base is None and function.name in SOFTMAX and classes_of(run) is not None:
        return Baselines(vocabulary, math.nan, f"at most {number(vocabulary)}, with any number of classes in use")
    return base if base is not None and base.untrained > 0 else None


def _is_weighted(run: Run) -> bool:
    criterion = run.facts.get("criterion")
    configs = [event.fields.get("config") for event in run.events if event.kind == "epoch_begin"]
    named = [key for config in configs if isinstance(config, dict) for key in config]
    if any(key.startswith("criterion") and key.endswith(("weight", "pos_weight")) for key in named):
        return True
    return isinstance(criterion, dict) and any(bool(criterion.get(key)) for key in ("weighted", "pos_weight"))


def _spread(run: Run) -> float:
    """Standard deviation of the losses of the samples in the first batch over their mean; NaN where they are not known."""
    kept = run.ragged.get("per_sample")
    losses = np.empty(0) if kept is None else finite(kept[0])
    return float(losses.std() / losses.mean()) if len(losses) > 3 and losses.mean() > 0 else math.nan


def _size_of_inputs(run: Run) -> float:
    """Root mean square of the inputs of the first batch, 1 at least, also where it is not known (as with tokens)."""
    size = math.hypot(float(run.float("input_mean")[0]), float(run.float("input_std")[0]))
    return max(1.0, size) if math.isfinite(size) else 1.0


def _later(curve: Floats, reach: int) -> float:
    """The loss around the end of `reach` batches; NaN where it is not finite any more."""
    at = min(reach, len(curve))
    late = curve[max(1, at - max(5, at // 10)) : at]
    return median(late) if len(late) and np.isfinite(late).all() else math.nan


def _finding(
    run: Run, first: FirstLoss, base: Baselines, curve: Floats, *, later: float, reach: int, regression: bool
) -> Finding:
    ratio = times(first.level / base.untrained)
    with_error = f" \u00b1 {number(first.error, 2)}" if math.isfinite(first.error) else ""
    evidence = [
        Evidence(
            f"the first {plural(first.samples, 'sample')} have a loss of {number(first.level)}{with_error}; "
            f"an output that knows nothing has {base.said} ({ratio})",
            "loss",
            (0, min(len(run), reach)),
        )
    ]
    spread = _spread(run)
    if regression:
        target, output = math.sqrt(base.untrained), math.sqrt(first.level)
        evidence.append(Evidence(f"the outputs are about {number(output)} in size, the targets {number(target)}", "target_std"))
    elif math.isfinite(spread):
        said = f"the losses of single samples differ by {percent(spread)} of their mean: the outputs are sure, and wrong"
        evidence.append(Evidence(said, "per_sample", (0, 1)))
    down = np.flatnonzero(curve <= base.untrained)
    if not math.isfinite(later):
        evidence.append(Evidence(f"the loss is not finite any more within {plural(reach, 'batch')}", "loss", (0, reach)))
    elif len(down):
        cost = f"{plural(int(down[0]), 'batch')} ({percent(down[0] / len(run))} of the run)"
        evidence.append(Evidence(f"it takes {cost} until one has a loss as low as that", "loss", (0, int(down[0]) + 1)))
    else:
        fallen = f"it falls to {number(later)} within {plural(reach, 'batch')}, and never as low as that"
        evidence.append(Evidence(fallen, "loss"))
    inputs = _size_of_inputs(run)
    against = [] if inputs <= 3 else [Evidence(f"the inputs are {number(inputs)} in size: standardise them, too", "input_std")]
    if len(down) and math.isfinite(later):
        against.append(Evidence(f"it is made up for: the loss is {number(float(np.nanmin(curve)))} at its best", "loss"))
    fix = (
        "for module in model.modules():\n"
        "    if isinstance(module, (nn.Linear, nn.Conv2d)):\n"
        '        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")     # as large as keeps the scale\n'
        "        if module.bias is not None:\n"
        "            nn.init.zeros_(module.bias)\n"
        f"nn.init.zeros_(head.weight)     # the last layer: the first loss is then {number(base.untrained)}"
    )
    return Finding(
        ID, "fault", "likely", "The weights begin too large",
        f"The loss of the first batch, before any update, is {number(first.alone)}, where an output that knows nothing has "
        f"{base.said}.",
        score=min(0.9, 0.6 + 0.1 * math.log10(first.level / base.untrained)), steps=(int(run.step[0]),),
        explains_jump=not math.isfinite(later),
        evidence=tuple(evidence), against=tuple(against),
        advice="Take the default initialisation, or one that keeps the scale from layer to layer, and let the last layer begin "
        "near zero.",
        fix=fix,
        confirm=f"Compute the loss of one batch with the new weights, before any step: about {number(base.untrained)}.",
    )  # fmt: skip
