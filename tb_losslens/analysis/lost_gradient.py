"""A gradient that is not finite while the loss of its batch still is: the step with it loses the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.bad_report import bad_batch_finding, shown_around
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.stats import Floats, finite
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Run


def not_finite(run: Run, *, least: int = 10) -> NDArray[np.bool_]:
    """Rows whose gradient was read and is NaN or infinite, shape (n,).

    A NaN of the norm also stands for one that was not read. It was read where the norms of single layers were, and in each
    row that was looked into, if that holds for all those (`least` or more) whose loss and the next one are finite.
    """
    norm, dense = run.float("grad_norm"), run.float("dense") > 0
    bad = np.isinf(norm)
    good = dense & np.isfinite(run.loss) & np.isfinite(np.append(run.loss[1:], np.nan))
    if good.sum() >= least and np.isfinite(norm[good]).all():
        bad |= dense & ~np.isfinite(norm)
    layers = run.ragged.get("layer_grad_norm")
    if layers is not None and len(layers) == len(run) and len(layers.values):
        values = layers.values if layers.values.ndim == 1 else layers.values.reshape(len(layers.values), -1)[:, -1]
        which = np.repeat(np.arange(len(run)), np.diff(layers.offsets))
        bad[which[~np.isfinite(values.astype(np.float64))]] = True
    return bad


def lost_by_gradient(run: Run, row: int) -> int | None:
    """The first row of those right before `row` whose gradient is not finite and whose loss is; None without one.

    Under accumulation a gradient stays from one backward to the next, so there may be several. A step that the loss scaler
    left out loses nothing.
    """
    if row < 1:
        return None
    bad, skipped = not_finite(run), run.float("amp_skipped")
    first = row
    while first > 0 and bad[first - 1] and np.isfinite(run.loss[first - 1]) and skipped[first] != 1:
        first -= 1
    return first if first < row else None


def thrown_off(run: Run, row: int) -> str:
    """In words, that the loss of `row` is so far above all before it that its gradient is lost for its size; "" if it is not.

    An operation without a derivative leaves the loss what it was. A loss in which float32 has no digit left for those before
    has been thrown off, by the updates before it where the batch is as the others: known by its inputs and targets, whose
    size must be about that of other batches. Where these are not known it may be the batch, and no proof says that it is.
    """
    fold = 1 / float(np.finfo(np.float32).eps)
    before = finite(run.loss[:row])
    with np.errstate(over="ignore"):
        if not len(before) or not run.loss[row] > fold * float(np.abs(before).max()):
            return ""
    inputs = _as_others(_size(run, "input"), row) if run.float("input_nonfinite")[row] == 0 else None
    if run.float("input_nonfinite")[row] > 0 or inputs is False:
        return ""
    classes = run.ragged.get("classes")
    labelled = classes is not None and row < len(classes) and bool(np.diff(classes.offsets)[row])
    targets = True if labelled else _as_others(_size(run, "target"), row)
    if targets is False:
        return ""
    if inputs and targets:
        return "with inputs and targets as the others have them: it was thrown off by the updates before"
    return f"and its {'targets' if inputs else 'inputs'} were not recorded: it was thrown off by them or by the updates before"


def _size(run: Run, of: str) -> Floats:
    return np.asarray(np.hypot(run.float(f"{of}_mean"), run.float(f"{of}_std")))


def _as_others(sizes: Floats, row: int, *, fold: float = 3.0) -> bool | None:
    """Whether a batch is no larger than `fold` times all others; None where it, or every other one, is not known."""
    others = finite(np.delete(sizes, row))
    return bool(sizes[row] <= fold * others.max()) if len(others) and np.isfinite(sizes[row]) else None


def lost_gradient(context: Context, row: int, broken: int) -> Finding:
    """The finding for a gradient that is not finite at `row`, where every loss from `broken` on is not."""
    run = context.run
    step, next_step, loss = f"{run.step[row]:,}", f"{run.step[broken]:,}", number(run.loss[row])
    evidence = [
        Evidence(f"the gradient of step {step} is NaN or infinite, its loss is {loss}", "grad_norm", (row, row + 1)),
        Evidence(f"every loss from step {next_step} on is not finite", "loss", shown_around(run.loss, (row, broken))),
    ]
    against = []
    if run.float("input_nonfinite")[row] == 0:
        against.append(Evidence("the inputs of that batch are finite: it is the loss function, a layer or the targets"))
    found = bad_batch_finding(
        context,
        [(row, row)],
        detail="nonfinite",
        strength="proved",
        title="The gradient stops being finite before the loss",
        text=f"The gradient of step {step} is not finite while its loss still is ({loss}). The optimiser step with it loses "
        f"the weights: every loss from step {next_step} on is not finite.",
        evidence=evidence,
        against=against,
    )
    return replace(
        found,
        advice="Go back to a state from before that step, and step only where the gradient norm is finite: a test of the loss "
        "comes too late. Then look for an operation without a derivative there: a root, a norm or a logarithm at 0, a "
        "division by 0.",
        fix=guarded(run, row),
        confirm=f"Run the batch of step {step} under `torch.autograd.set_detect_anomaly(True)`, with weights from before it: "
        "the error names the operation.",
    )


def open_before(run: Run, row: int) -> list[Evidence]:
    """What leaves open that the weights were lost in the step before `row`, the first whose loss is not finite."""
    if row < 1:
        return []
    before, step = row - 1, f"{run.step[row - 1]:,}"
    logged = run.float("logged_loss")
    out = []
    if np.isfinite(logged[:before]).all() and before > 0 and not np.isfinite(logged[before]):
        said = f"at step {step} no finite loss was logged, where the criterion returned {number(run.loss[before])}"
        out.append(Evidence(f"{said}: look at what is done to the loss in between", "logged_loss", (before, row)))
    if not np.isfinite(run.float("grad_norm")[before]):
        out.append(Evidence(f"the gradient of step {step} was not read: the weights may have been lost by it already"))
    return out


def guarded(run: Run, row: int, *, usual: float = 0.99) -> str:
    """Code that leaves out a step whose gradient is not finite; it clips at the quantile `usual` of the norms before `row`."""
    norms = finite(run.float("grad_norm")[:row])
    most = f"{float(np.quantile(norms, usual)):.3g}" if len(norms) else "1.0"
    return (
        f"# load a state from before step {run.step[row]:,}: later weights are lost\n"
        "parameters = model.parameters()\n"
        f"norm = torch.nn.utils.clip_grad_norm_(parameters, {most}, error_if_nonfinite=False)\n"
        "if torch.isfinite(norm):     # also False where the loss is not finite\n"
        "    optimizer.step()\n"
        "optimizer.zero_grad()"
    )
