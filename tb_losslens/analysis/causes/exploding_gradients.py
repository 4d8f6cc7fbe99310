"""The gradient grows on its way back through layers or time steps, and one update throws the weights far off.

What it sees:
    The gradient norm of each batch before clipping, and of the weights of each layer; the size of the updates; where the loss
    is thrown off.

Why it matters:
    Each layer or time step multiplies the gradient. Where that is more than 1, the gradient is huge for some batches,
    though their loss is an ordinary one. A single step with it undoes hundreds of others, or ends the training.

How it decides:
    By an order in time, or by sizes without a unit before any update. `lead`: the gradient norm of a batch is eight times and
    eight robust standard deviations above those of the 50 batches before, while its loss is within four of its own; the loss
    leaves its level in the batches after it and stays off it; and the model is in the mode that it began in. `from_start`: in
    the first batch two layers or more have a gradient more than 50 times as large as any of the last third of the layers; and
    the first update is larger than the weights, or the loss is thrown off, or nothing is learned.

What to try:
    Clip the gradient norm at a quantile of the run's own; orthogonal weights for recurrent layers, an LSTM or GRU;
    normalisation; a lower LR.

When it is wrong:
    A bad batch has a large gradient and a large loss at once, and inputs unlike the rest: read `bad_batch`, which comes first.
    An LR that is too high lifts both together (`lr_too_high`). Inputs in a large unit enlarge the gradient of the first layer
    alone. False-alarm rate: none on healthy trainings so far.

References:
    Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks, 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.blow_up import BlowUp, harm_of, mechanism_before
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding
from tb_losslens.analysis.layer_gradients import LayerGradients, layer_gradients, optimizers_of
from tb_losslens.analysis.learned import learned
from tb_losslens.analysis.own_data import other_mode
from tb_losslens.analysis.stats import Floats, finite, median, robust_sigma
from tb_losslens.analysis.text import number, plural, times
from tb_losslens.store.run import Run

ID = "exploding_gradients"
REQUIRES: tuple[str, ...] = ("loss", "grad_norm")


@dataclass(frozen=True)
class _Lead:
    row: int
    loss_row: int
    ratio: float
    sigmas: float


def find(
    context: Context, *, fold: float = 8.0, sigmas: float = 8.0, quiet: float = 4.0, window: int = 50, within: int = 5,
    ratio: float = 50.0, most: float = 0.1,
) -> Outcome:  # fmt: skip
    """One finding, or how far the gradient norm was from its band.

    Args:
        context: the run and its measurement.
        fold: times the gradient norms before.
        sigmas: robust standard deviations of their logarithm, and of the loss where it leaves its level.
        quiet: the same of the loss in the batch whose gradient stands out.
        window: batches before it.
        within: batches after it in which the loss leaves its level.
        ratio: gradient of the second largest layer over the largest of the last third, in the first batch.
        most: part of the loss that was learned, up to which that is nothing.
    """
    run = context.run
    harm = harm_of(run)
    early = _from_start(run, ratio)
    if early is not None:
        known, update = learned(run), finite(run.float("update_ratio")[:1])
        nothing = known is not None and known.constant and known.part < most
        if harm is not None or nothing or (len(update) and update[0] > 1):
            return _finding_from_start(run, *early, harm=harm, update=float(update[0]) if len(update) else math.nan)
    lead = _lead(run, fold, sigmas, quiet, window=window, within=within)
    if lead is not None:
        named = mechanism_before(context, lead.row)
        step = f"{int(run.step[lead.row]):,}"
        mode = other_mode(run, lead.row)
        if named is None and mode:
            return Checked(ID, f"the gradient norm leaves its band at step {step}, where {mode}")
        if named is None:
            return _finding_lead(run, lead)
        return Checked(ID, f"the gradient norm leaves its band at step {step}: a consequence of `{named.cause}`")
    norms = finite(run.float("grad_norm"))
    if not len(norms) or not median(norms) > 0:
        return Checked(ID, "no gradient norm above 0 to compare")
    said = f"the largest gradient norm is {times(float(norms.max()) / median(norms))} the usual, before clipping"
    return Checked(ID, f"{said}; none leaves its band before the loss does")


def _from_start(run: Run, ratio: float) -> tuple[LayerGradients, float] | None:
    """Gradients of the first batch that grow towards the first layers, and by how much; None if they do not."""
    found = layer_gradients(run, last=1)
    if found is None or len(found.names) < 3 or optimizers_of(run) > 1:
        return None
    norms = found.norms[0]
    last = max(1, len(norms) // 3)
    late, inner = float(norms[-last:].max()), np.sort(norms[:-last])
    if len(inner) < 2 or not late > 0:
        return None
    grown = float(inner[-2]) / late
    return (found, grown) if grown > ratio else None


def _lead(run: Run, fold: float, sigmas: float, quiet: float, *, window: int, within: int) -> _Lead | None:
    """The first batch whose gradient stands out while its loss does not, with a loss that leaves its level after it."""
    norms, loss = run.float("grad_norm"), run.loss
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(norms)
    for row in np.flatnonzero(norms > fold * median(norms)).tolist():
        before = slice(max(0, row - window), row)
        here, level = finite(logs[before]), finite(loss[before])
        if len(here) < 20 or len(level) < 20 or not math.isfinite(loss[row]):
            continue
        spread = max(robust_sigma(here), 1e-9)
        away = (float(logs[row]) - median(here)) / spread
        if not away >= sigmas or not logs[row] - median(here) >= math.log(fold):
            continue
        width = max(robust_sigma(level), 1e-9 * abs(median(level)))
        if not loss[row] - median(level) <= quiet * width:
            continue
        limit = median(level) + max(sigmas * width, 0.5 * abs(median(level)))
        after = loss[row + 1 : row + 1 + within]
        out = np.flatnonzero(~(after <= limit))
        if len(out) and _stays(loss, row + 1 + int(out[0]), limit):
            with np.errstate(over="ignore"):
                return _Lead(row, row + 1 + int(out[0]), float(np.exp(logs[row] - median(here))), away)
    return None


def _stays(loss: Floats, row: int, limit: float, *, batches: int = 10) -> bool:
    """True if most of the losses from `row` on, over so many batches, lie above `limit` or are not finite."""
    after = loss[row : row + batches]
    return len(after) > 2 and bool((~(after <= limit)).mean() > 0.5)


def _finding_lead(run: Run, lead: _Lead) -> Finding:
    step, then = int(run.step[lead.row]), int(run.step[lead.loss_row])
    norm = float(run.float("grad_norm")[lead.row])
    span = (max(0, lead.row - 20), min(len(run), lead.loss_row + 20))
    clip = _clip(run, lead.row)
    evidence = [
        Evidence(
            f"the gradient norm of step {step:,} is {number(norm)}, {times(lead.ratio)} those before "
            f"({number(lead.sigmas, 2)} sigma of their logarithm)",
            "grad_norm",
            span,
        ),
        Evidence(f"its loss is {number(run.loss[lead.row])}, as those before", "loss", span),
        Evidence(
            f"the loss leaves its level at step {then:,}, {plural(lead.loss_row - lead.row, 'batch')} later, and stays off it",
            "loss",
            span,
        ),
        *_largest_layer(run, lead.row),
    ]
    return Finding(
        ID, "fault", "likely", "The gradient leaps before the loss",
        f"The gradient norm of step {step:,} is {times(lead.ratio)} those before, with an ordinary loss; the update with it "
        f"throws the loss from step {then:,} on.",
        detail="lead", score=0.85, steps=(step, then), explains_jump=True, evidence=tuple(evidence),
        advice=f"Clip the gradient norm at {clip}, the upper hundredth of the run until then; then lower the LR or normalise.",
        fix=_fix(clip), confirm=f"Repeat from before step {step:,} with the norm clipped at {clip}: the loss stays.",
    )  # fmt: skip


def _finding_from_start(
    run: Run, found: LayerGradients, grown: float, *, harm: BlowUp | None, update: float
) -> Finding:
    norms = found.norms[0]
    top = int(np.argmax(norms))
    last = float(norms[-max(1, len(norms) // 3) :].max())
    largest = f"the gradient of `{found.names[top]}` is {number(float(norms[top]))}"
    evidence = [
        Evidence(
            f"in the first batch, before any update, {largest}, those of the last layers are {number(last)} at most",
            "layer_grad_norm",
            (0, 1),
        ),
        Evidence(f"two layers or more have {times(grown)} those of the last ones", "layer_grad_norm", (0, 1)),
    ]
    if math.isfinite(update) and update > 0.1:
        evidence.append(Evidence(f"the first update is {times(update)} the weights in size", "update_ratio", (0, 1)))
    thrown = harm is not None
    if harm is not None:
        end = "is not finite any more" if harm.kind == "nonfinite" else f"reaches {number(harm.top)}"
        said = f"the loss {end} from step {int(run.step[min(harm.row, len(run) - 1)]):,} on"
        evidence.append(Evidence(said, "loss", (max(0, harm.row - 5), min(len(run), harm.row + 20))))
    else:
        known = learned(run)
        if known is not None:
            said = f"the best constant has a loss of {number(known.start)}, the best quarter of the run {number(known.level)}"
            evidence.append(Evidence(said, "loss"))
    late = finite(run.float("grad_norm")[1:])
    clip = number(min(1.0, float(np.median(late))) if len(late) else 1.0)
    return Finding(
        ID, "fault", "likely", "The gradient grows on its way to the first layers",
        f"Before any update the gradient of `{found.names[top]}` is {times(float(norms[top]) / last)} that of the last layers.",
        detail="from_start", score=0.8, steps=(int(run.step[0]),), explains_jump=thrown, evidence=tuple(evidence),
        advice="Make the weights such that each layer or time step keeps the size of what passes through it, and clip the "
        "gradient norm.",
        fix="for name, weight in model.named_parameters():\n"
        "    if 'weight_hh' in name:\n"
        "        nn.init.orthogonal_(weight)     # recurrent weights that neither grow nor fade\n"
        + _fix(clip),
        confirm="After one backward of the untrained model print the gradient norm of each weight: those of the first and the "
        "last layer should be within a factor of 100.",
    )  # fmt: skip


def _largest_layer(run: Run, row: int) -> list[Evidence]:
    found = layer_gradients(run, last=row + 1)
    if found is None or row not in found.rows or len(found.rows) < 5:
        return []
    usual = np.median(found.norms[:-1], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        grown = np.where(usual > 0, found.norms[-1] / usual, 0.0)
    top = int(np.argmax(grown))
    said = f"most of all that of `{found.names[top]}`: {times(float(grown[top]))}"
    return [Evidence(said, "layer_grad_norm", (row, row + 1))]


def _clip(run: Run, row: int) -> str:
    """The upper hundredth of the norms before `row`."""
    norms = finite(run.float("grad_norm")[:row])
    return number(float(np.quantile(norms, 0.99))) if len(norms) else "1"


def _fix(clip: str) -> str:
    value = clip.replace(",", "")
    return f"loss.backward()\ntorch.nn.utils.clip_grad_norm_(model.parameters(), max_norm={value})\noptimizer.step()"
