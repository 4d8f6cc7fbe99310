"""The logged loss is an exponential mean or a mean over a window of batches, not the loss of the batch.

What it sees:
    A curve in which each value hardly differs from the one before, whatever the batch size.

Why it matters:
    A jump of the loss shows late and as a slope, and is spread over as many batches as the mean remembers. A mean that
    begins anew with each epoch starts there at the loss of one batch and so jumps although the training does nothing.

How it decides:
    With the raw loss u beside the logged x (column `logged_loss`), by equality at nearly all batches: `x_i = a x_(i-1) +
    (1 - a) u_i` with one constant a, where epochs may begin anew with `x_i = u_i`; or it is begun at 0 and divided by
    `1 - a^i`, as Adam does with its moments; or x_i is the mean of the last w raw losses. It explains the jumps where it begins
    anew, the logged curve jumps there and the raw one does not. Without the raw loss it is likely where the logged value is a
    function of output and target at the first batch, with which a mean begins, and at no later one, while neighbouring values
    share their noise. Else nothing is claimed: that they share it is said, and what would prove it.

What to try:
    Log the loss of the batch and let the chart smooth it. LossLens judges the raw loss, where it is recorded.

When it is wrong:
    An equality at hundreds of batches is no chance. A window that is emptied at each epoch, a mean that corrects its bias anew
    in each, and a curve that is not logged in every batch are not recognised. A mean since the epoch or the training began is
    `running_mean`.

References:
    Response of a first-order filter to a step, `1 - a^n` after n batches; its noise is `sqrt((1 - a) / (1 + a))` of that of u.
"""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.logged_mean import RECORDED_BESIDE, TAKEN_APART, beside_the_batch_loss
from tb_losslens.analysis.smoothing import Smoothing, bias_corrected, exponential, windowed
from tb_losslens.analysis.smoothness import BATCH_LOSS, begins_as_batch_loss, may_be_smoothed, usual_share
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.analysis.whole import lost_before

ID = "smoothed_metric"
REQUIRES: tuple[str, ...] = ("loss",)


def find(context: Context, *, tolerance: float = 1e-5, widest: int = 1000) -> Outcome:
    """Decides by equality where the raw loss is known beside the logged one, else says what cannot be told.

    Args:
        context: the run and its measurement.
        tolerance: of the size of the losses.
        widest: largest window that is tried.
    """
    run = context.run
    if not run.has("logged_loss"):
        shared = may_be_smoothed(run)
        if shared:
            said = f"each value shares {percent(shared)} of its noise with the one before, as in a moving average"
            if begins_as_batch_loss(run) and context.found("running_mean") is None:
                return _from_the_curve(said)
            return Skipped(ID, f"{said}; only the loss of each batch beside it would prove that", BATCH_LOSS)
        return Checked(ID, f"neighbouring values share {percent(usual_share(run))} of their noise")
    logged, lost = run.float("logged_loss"), lost_before(run)
    starts = np.array([epoch.first for epoch in context.epochs], dtype=np.int64)
    together = np.concatenate([[False], np.diff(lost) == 0])[: len(run)]
    found = exponential(logged, run.loss, starts, together, tolerance=tolerance)
    found = found or bias_corrected(logged, run.loss, lost, tolerance=tolerance)
    found = found or windowed(logged, run.loss, lost, tolerance=tolerance, widest=widest)
    if found is None:
        return Checked(ID, "the logged loss is no exponential mean of the raw one, nor its mean over a window")
    return _finding(context, found)


def _from_the_curve(said: str) -> Finding:
    return Finding(
        ID, "artifact", "likely", "The logged loss is smoothed",
        "The logged value is the loss of the batch at the first batch and not after it, as that of a mean that begins with it, "
        "so a jump shows late and as a slope.",
        score=0.75, explains_jump=False,
        evidence=(
            Evidence(said, "loss"),
            Evidence("it is a function of output and target at the first batch, and none at the others", "loss_identity"),
        ),
        against=(Evidence("the loss of the batch was not recorded beside it: this is told from noise and identity alone"),),
        missing=(BATCH_LOSS,),
        advice="Log the loss of the batch and let the chart smooth it: a jump cannot be measured on this curve.",
        fix='writer.log_batch(loss)     # or: writer.add_scalar("Loss/train", loss.item(), step)',
        confirm=TAKEN_APART.confirm,
    )  # fmt: skip


def _finding(context: Context, found: Smoothing) -> Finding:
    half = math.log(0.5) / math.log(found.keep) if not found.window else found.window / 2
    if found.window:
        what, how = f"the mean of the last {found.window:,} losses", "window"
        left = 1 / math.sqrt(found.window)
        all_of_it = f"all of it after {plural(found.window, 'batch')}"
    else:
        what, how = f"{number(found.keep)} of the value before and {number(1 - found.keep)} of the batch loss", "exponential"
        what += ", corrected for its begin at 0" if found.corrected else ""
        left = math.sqrt((1 - found.keep) / (1 + found.keep))
        all_of_it = f"95 % of it after {plural(math.ceil(math.log(0.05) / math.log(found.keep)), 'batch')}"
    evidence = [
        Evidence(f"the logged value equals {what} at {plural(found.rows, 'batch')}", "logged_loss"),
        Evidence(f"half of a jump shows after {plural(max(1, round(half)), 'batch')}, {all_of_it}"),
        Evidence(f"noise from batch to batch is {percent(left)} of that of the batch loss"),
    ]
    title, explains = "The logged loss is smoothed", False
    text = f"The logged value is {what}, so a jump shows late and as a slope."
    if found.restarts:
        anew = f"it begins anew at {found.restarts} of {plural(len(context.boundaries), 'boundary')}"
        evidence.append(Evidence(anew, "logged_loss"))
        beside, explains = beside_the_batch_loss(context)
        text = f"The logged value is {what} and begins anew with each epoch, so it jumps there by itself{beside}."
        title = "The logged loss jumps because it is a mean that begins anew" if explains else title
    return Finding(
        ID, "artifact", "proved", title, text, detail=how, score=0.9, explains_jump=explains, evidence=tuple(evidence),
        advice=RECORDED_BESIDE.advice, fix=RECORDED_BESIDE.fix, confirm=RECORDED_BESIDE.confirm,
    )  # fmt: skip
