"""The logged loss is a number although the loss or the gradient of the batch is not.

What it sees:
    The logged loss beside that of the criterion; the norm of the gradient, of single layers and of the weights in the batches
    that were looked into; whether the optimiser made a step; steps that the loss scaler left out.

Why it matters:
    `nan_to_num`, a clamp, or a logger that writes 0 or the last value where the loss is NaN draw a curve on which nothing
    happened. The weights are lost at the first step with such a gradient, and all that is trained after it is wasted.

How it decides:
    By equalities of each batch, without a test. `replaced`: the criterion's loss is NaN or infinite and a finite one was
    logged, where both are the same number in the other batches, or every later loss of the criterion is not finite. `zero`
    and `gradient`: a step was made with a gradient that is NaN or infinite, in three batches or more, and the recorded losses
    of these and of the next batches are finite; exactly 0 each time, or not. `left_out`: the last half of the training had a
    gradient that is not finite in most batches, and no step was made for it: the curve is flat and nothing is learned. It
    explains a loss that falls to exactly 0, and a logged one that stays at one number to the end, unless the inputs or the
    gradient before tell why.

What to try:
    Log the loss as it is, NaN included, and stop at the first that is not finite; step only where the gradient norm is finite.

When it is wrong:
    A scaler of mixed precision leaves out single steps by design, as guarded loops do: these are counted and are no finding.
    Where the gradient is finite beside a criterion that is not, the loss that is minimised is another one, as with targets
    that are ignored: none either. A NaN that the next logged loss shows hides nothing, see `bad_batch`. False-alarm rate:
    none on steps that are recorded right.

References:
    Micikevicius et al., Mixed Precision Training, 2018 (steps that are skipped). PyTorch documentation, `torch.nan_to_num`.
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.bad_report import shown_around
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.hidden import (
    Mask,
    bad_gradient,
    left_out_in_words,
    logged_as,
    mostly_left_out,
    replaced,
    under_finite,
)
from tb_losslens.analysis.lost_gradient import guarded, lost_by_gradient
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.text import number, plural
from tb_losslens.store.run import Run

ID = "hidden_nonfinite"
REQUIRES: tuple[str, ...] = ()
"""Not the loss nor the gradient: one that is NaN in every batch is what this cause is asked about."""

_WATCH = "writer.watch(model, optimizer)"


def find(context: Context, *, least: int = 3, zeros: float = 0.9) -> Outcome:
    """One finding, or what was compared.

    Args:
        context: the run and its measurement.
        least: batches with a gradient that is not finite under a finite loss.
        zeros: part of them whose loss is exactly 0 that makes it `zero`.
    """
    run = context.run
    how = "" if run.facts.get("model") and run.facts.get("optimizer") else _WATCH
    if not any(run.has(name) for name in ("grad_norm", "layer_grad_norm", "logged_loss")):
        return Skipped(ID, "neither the gradient nor the criterion's loss beside the logged one was recorded", how)
    rows = replaced(run)
    if len(rows):
        return _replaced(run, rows)
    bad = bad_gradient(run)
    made, left = under_finite(run, bad)
    if len(made) >= least:
        zero = bool((run.loss[made] == 0).mean() >= zeros)
        return _stepped(context, made, zero=zero)
    none = left[run.loss[left] == 0]
    if len(none) >= least and len(none) >= zeros * len(left) and not _is_zero_elsewhere(run, bad):
        return _zero_without_step(run, none)
    if mostly_left_out(run, left, bad):
        return _left_out(run, left, bad)
    return Checked(ID, _fine(run, left, bad))


def _is_zero_elsewhere(run: Run, bad: Mask) -> bool:
    """True if a batch with a gradient that is finite has a loss of exactly 0."""
    return bool(((run.loss == 0) & np.isfinite(run.float("grad_norm")) & ~bad).any())


def _zero_without_step(run: Run, rows: Rows) -> Finding:
    """The step was rightly left out, and 0 was logged in the place of the loss."""
    seen, step = int(rows[0]), f"{int(run.step[rows[0]]):,}"
    count, zeros = plural(len(rows), "batch"), int((run.loss == 0).sum())
    span = shown_around(run.loss, (seen, seen))
    return Finding(
        ID, "artifact", "proved", "A loss of 0 in the place of one that is not finite",
        f"The gradient of {count} is NaN or infinite, first at step {step}, where the recorded loss is exactly 0. Their steps "
        f"were left out; the curve shows {zeros:,} values of 0 that were none.",
        detail="zero", score=0.9, steps=_steps(run, np.flatnonzero(run.loss == 0)), explains_jump=False,
        evidence=(
            Evidence(f"the gradient of {count} of those that were read is NaN or infinite", "grad_norm", span),
            Evidence(f"their loss is exactly 0, as in {zeros:,} batches in all", "loss", span),
            Evidence("no batch with a loss of 0 has a gradient that is finite", "grad_norm", span),
        ),
        against=(Evidence("no step was made with these gradients: the weights are not harmed", "micro_batches"),),
        advice="Log the loss as it is, and find the batches and the operation that make it NaN.",
        fix=_log_as_it_is(step),
        confirm=f"Print the loss of step {step} before anything is done to it: it is not finite.",
    )  # fmt: skip


def _fine(run: Run, left: Rows, bad: Mask) -> str:
    if len(left):
        return left_out_in_words(run, left, bad)
    known = int((np.isfinite(run.float("grad_norm")) & np.isfinite(run.loss)).sum())
    both = int((np.isfinite(run.float("logged_loss")) & np.isfinite(run.loss)).sum())
    said = f"the gradients of {plural(known, 'batch')} with a finite loss are finite" if known else ""
    beside = f"the logged loss and that of the criterion are finite together in {plural(both, 'batch')}" if both else ""
    return ", and ".join(part for part in (said, beside) if part) or "no finite loss was logged over a gradient that is not"


def _replaced(run: Run, rows: Rows) -> Finding:
    first = int(rows[0])
    step = f"{int(run.step[first]):,}"
    count = plural(len(rows), "batch")
    whose = f"the criterion's loss of {count} is NaN or infinite, first at step {step}"
    last = int(rows[-1]) + 1
    evidence = [
        Evidence(whose, "loss", shown_around(run.loss, (first, first))),
        Evidence(f"these were logged {logged_as(run, rows)}", "logged_loss", (first, last)),
    ]
    gone = not np.isfinite(run.loss[first:]).any()
    told = run.float("input_nonfinite")[first] > 0 or lost_by_gradient(run, first) is not None  # see `bad_batch`
    flat = gone and not np.ptp(run.float("logged_loss")[rows])
    if gone:
        evidence.append(Evidence(f"no loss from step {step} on is finite: the weights are lost", "loss", (first, len(run))))
    return Finding(
        ID, "artifact", "proved", "The logged loss hides one that is not finite",
        f"The loss of {count} is NaN or infinite from step {step} on, and the curve shows {_shown(run, rows)} in their place.",
        detail="replaced", score=0.95, steps=_steps(run, rows), explains_jump=bool(flat and not told),
        evidence=tuple(evidence),
        advice="Log the loss as it is, and stop or go back where it is not finite."
        + (f" All that was trained from step {step} on is lost." if gone else ""),
        fix=_log_as_it_is(step) + guarded(run, first),
        confirm=f"Print the loss of step {step} before anything is done to it: it is not finite.",
    )  # fmt: skip


def _shown(run: Run, rows: Rows) -> str:
    values = run.float("logged_loss")[rows]
    return number(float(values[0])) if values.min() == values.max() else "finite values"


def _stepped(context: Context, rows: Rows, *, zero: bool) -> Finding:
    run, seen = context.run, int(rows[0])
    first = _first_zero(run, seen) if zero else seen
    step, count = f"{int(run.step[first]):,}", plural(len(rows), "batch")
    span = shown_around(run.loss, (first, int(rows[-1])))
    losses = run.loss[rows]
    level = "exactly 0" if zero else f"finite, from {number(float(losses.min()))} to {number(float(losses.max()))}"
    since = f", as from step {step} on" if first < seen else ""
    at_first = f"the gradient of {count} is NaN or infinite, first at step {int(run.step[seen]):,}"
    evidence = [
        Evidence(at_first, "grad_norm", (seen, int(rows[-1]) + 1)),
        Evidence(f"their loss is {level}{since}", "loss", span),
        Evidence("the optimiser made a step in each of them", "micro_batches", (first, int(rows[-1]) + 1)),
    ]
    weights = run.float("weight_norm")
    known = np.flatnonzero(np.isfinite(weights))
    if len(known) and not np.isfinite(weights[first:][1:]).any():
        evidence.append(Evidence(f"the norm of the weights is a number until step {int(run.step[known[-1]]):,}, then no more"))
    at = tuple(b.index for b in context.boundaries if zero and b.significant and abs(b.batch - first) <= b.m)
    against = [] if zero else [Evidence("the loss goes on without a break", "loss", span)]
    return Finding(
        ID, "artifact", "proved", "A finite loss over gradients that are not",
        f"From step {step} on the recorded loss is {'exactly 0' if zero else 'finite'}, while the gradient of {count} is NaN "
        "or infinite and the optimiser stepped with it. The weights are lost, and the curve does not show it.",
        detail="zero" if zero else "gradient", score=0.95, boundaries=at,
        steps=_steps(run, np.union1d(rows, [first])), explains_jump=zero, evidence=tuple(evidence), against=tuple(against),
        advice=f"Go back to a state from before step {step}. Log the loss as it is, before `nan_to_num`, a clamp or a default "
        "value, and step only where the gradient norm is finite.",
        fix=_log_as_it_is(step) + guarded(run, first),
        confirm=f"`[n for n, p in model.named_parameters() if not torch.isfinite(p).all()]` after step {step}: not empty.",
    )  # fmt: skip


def _first_zero(run: Run, row: int) -> int:
    """The first of the batches right before `row` whose loss is exactly 0; their gradients may not have been read."""
    while row > 0 and run.loss[row - 1] == 0:
        row -= 1
    return row


def _left_out(run: Run, rows: Rows, bad: Mask) -> Finding:
    first = int(rows[0])
    step = f"{int(run.step[first]):,}"
    span = (first, int(rows[-1]) + 1)
    evidence = [
        Evidence(left_out_in_words(run, rows, bad), "grad_norm", span),
        Evidence("the losses of these batches are finite", "loss", shown_around(run.loss, (first, int(rows[-1])))),
    ]
    scale = run.float("amp_scale")
    scale = scale[np.isfinite(scale)]
    if len(scale):
        said = f"the loss scale goes from {number(float(scale[0]))} to {number(float(scale[-1]))}"
        evidence.append(Evidence(said, "amp_scale", span))
    return Finding(
        ID, "artifact", "proved", "Most steps are left out, and the loss does not show it",
        f"From step {step} on the gradient of most batches is NaN or infinite and no step is made with it: the loss is finite, "
        "and hardly anything is learned.",
        detail="left_out", score=0.9, steps=_steps(run, rows), explains_jump=False, evidence=tuple(evidence),
        advice="Find the operation whose derivative is not finite: a root, a norm or a logarithm at 0, a division by 0. A "
        "guard that leaves out single steps is right; count them, and stop where they are most.",
        fix=f"# step {step}, with weights from before it\nwith torch.autograd.set_detect_anomaly(True):\n    loss.backward()",
        confirm=f"Run the batch of step {step} under `torch.autograd.set_detect_anomaly(True)`: the error names it.",
    )  # fmt: skip


def _log_as_it_is(step: str) -> str:
    return (
        f"# the loss itself, before anything replaces it: not finite from step {step} on\n"
        "writer.log_batch(loss)\n"
        "if not torch.isfinite(loss):\n"
        f'    raise RuntimeError("loss is not finite")\n'
    )


def _steps(run: Run, rows: Rows, *, most: int = 50) -> tuple[int, ...]:
    return tuple(int(step) for step in run.step[rows[:most]])
