"""One batch, or a span of them, holds data unlike the rest, and the loss shows it.

What it sees:
    Loss, gradient norm, mean and spread of the inputs, class mix or targets of every batch; non-finite values; sample ids.

Why it matters:
    A handful of broken batches (an unscaled file, labels of another set, a NaN) throws the weights far off, and the run needs
    hundreds of steps to come back, if it does. The batch numbers and sample ids lead to the file.

How it decides:
    Inputs or targets of the batch stand apart: by a gap of a factor of two from all others, and beyond what the tail of the
    others leads one to expect, so that an extreme value in heavy-tailed data is none. And the loss or the gradient of the same
    batches stands out from the batches around them, or those of a span, or of all batches that hold a few recurring samples,
    do together;
    batches that stand apart without an effect are mentioned only, except where BatchNorm hides it from the training and keeps
    it for the validation: where `batchnorm_drift` knows no other reason, and names the validations right after them,
    and no others. Samples that came with another target than in the epochs
    before and after are proof, where they fill batches one after the other. Non-finite: the first batch whose inputs hold
    NaN or infinity as the loss does, or the samples of which every batch has a loss that is not finite, where by chance not one
    would; a loss that never was finite is no matter of one batch. Recurring: the same sample ids in several epochs; a sample
    that comes again counts once, however many batches it is in, or the largest of a heavy tail would be an error. A span
    whose loss alone steps up and down at once, which no recovery of a disturbed model does, is called possible.

What to try:
    Look at the samples listed; clean or drop them, or skip a batch whose loss is not finite. Clip gradients meanwhile.

When it is wrong:
    A spike of the loss with normal inputs and targets is not called bad: it may be the LR or a hard batch. A loss that
    grows before it turns non-finite has diverged. Rare but right samples can stand apart too: ids are listed, not judged.
    Samples whose batches are high in every epoch are mentioned only: wrong labels and hard ones look the same there.
    `python -m demo.healthy` counts false alarms. Data that changes for good is `input_shift`.

References:
    Hill, A simple general approach to inference about the tail of a distribution, 1975. Rousseeuw and Croux, Alternatives
    to the median absolute deviation, 1993.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.bad_report import bad_batch_finding, in_words, shown_around
from tb_losslens.analysis.bad_rows import (
    BadRows,
    bad_rows,
    first_nonfinite,
    gradient_distance,
    loss_distance,
)
from tb_losslens.analysis.batchnorm_kept import is_left_by
from tb_losslens.analysis.boxes import box_spans
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped, Strength
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.known import is_known, mostly_known
from tb_losslens.analysis.nonfinite import first_finding, never_finite, recurring_finding, recurring_nonfinite
from tb_losslens.analysis.orders import recurring_ids
from tb_losslens.analysis.outliers import Rows, loss_level, spans
from tb_losslens.analysis.relabelled_span import relabelled_spans
from tb_losslens.analysis.sample_test import standing_behind
from tb_losslens.analysis.text import number, p_value, plural, some
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

ID = "bad_batch"
REQUIRES: tuple[str, ...] = ()
"""Not the loss: one that is NaN in every batch is what this cause is asked about."""


def find(context: Context, *, diverging: float = 3.0, most_batches: float = 0.1, least_epochs: int = 3) -> list[Outcome]:
    """Non-finite losses, batches that stand apart, and spans that only the loss shows, each a finding of its own.

    Args:
        context: the run and its measurement.
        diverging: a loss that grew by this factor right before it turned non-finite has diverged.
        most_batches: inputs that are not finite in more than this part of the batches are so by design.
        least_epochs: samples that come with bad batches in so many epochs are recurring.
    """
    if not context.run.has("loss"):
        return [never_finite(context) or Skipped(ID, "needs batch loss, which was not recorded", how_to_record("loss"))]
    out: list[Outcome] = []
    broken, again = first_nonfinite(context.run), recurring_nonfinite(context.run)
    first = None if broken is None else never_finite(context) or first_finding(context, broken, diverging, most_batches)
    if again is not None:
        first = recurring_finding(context, again, broken)
    if isinstance(first, Finding):
        out.append(first)
    seen = bad_rows(context.run, least_epochs=least_epochs)
    if context.found("incomplete_shuffle") is not None:
        seen = [bad for bad in seen if bad.detail != "targets"]  # the order puts like ones into the same batches
    found = [bad for bad in seen if len(bad.rows)]
    for detail in ("inputs", "targets"):
        signals = [bad for bad in found if bad.detail == detail]
        if signals:
            out.append(_standing_apart(context, signals, detail, least_epochs))
    kept = _kept_by_batchnorm(context, [bad for bad in seen if bad.detail == "inputs" and len(bad.quiet)])
    if kept is not None and not any(isinstance(one, Finding) for one in out):
        out.append(kept)
    relabelled = list(relabelled_spans(context.run).values())
    out += [_relabelled(context, first, last, proof) for first, last, proof in relabelled]
    known = {int(row) for bad in seen for row in (*bad.rows, *bad.quiet)}
    known |= {row for first, last, _ in relabelled for row in range(first, last + 1)}
    boxes = [span for span in box_spans(context.run) if not known & set(range(span[0] - 2, span[1] + 3))]
    boxes = [span for span in boxes if not _recovers(context, *span)]
    if boxes and not any(context.found(cause) for cause in ("running_mean", "smoothed_metric")):  # no value is one batch's
        out.append(_box(context, boxes))
    return out or [first or Checked(ID, _fine(context, seen))]


def _recovers(context: Context, first: int, last: int) -> bool:
    """True if the rows first..last are a jump that an earlier finding explains, or lie where the loss comes back from it.

    A boundary that a proof names need not be significant by itself: that the loss is high there is known to have a reason.
    """
    found = [o for o in context.earlier if isinstance(o, Finding) and o.explains_jump]
    explained = {k for o in found for k in o.boundaries}
    proved = {k for o in found if o.strength == "proved" for k in o.boundaries}
    boundaries = [b for b in context.boundaries if b.index in explained and (b.significant or b.index in proved)]
    return any(
        b.batch <= first and (first < b.batch + b.m or last < b.batch + max(b.m, b.recovery or 0)) for b in boundaries
    )


def _fine(context: Context, quiet: list[BadRows], *, least: int = 10) -> str:
    run = context.run
    distance = loss_distance(run)
    if not np.isfinite(distance).any():
        return "no loss to compare"
    if np.isfinite(distance).sum() < least:
        return f"{plural(int(np.isfinite(distance).sum()), 'batch')} with a loss are too few to say which one stands out"
    row = int(np.nanargmax(distance))
    said = f"the loss stands out most at step {run.step[row]:,}, {number(distance[row], 2)} sigma above those around it"
    if quiet:
        most = max(quiet, key=lambda bad: len(bad.quiet))
        where = f" (samples {some(most.ids, 8)})" if len(most.ids) > 1 else f" (sample {most.ids[0]:,})" if most.ids else ""
        apart = f"the {_LABEL[most.signal]} of {plural(len(most.quiet), 'batch')}{where}, the first at step"
        return f"{apart} {run.step[most.quiet[0]]:,}, stands apart, but loss and gradient do not show it: harmless so far"
    known = [
        label
        for name, label in (("input_mean", "inputs"), ("classes", "class mix"), ("target_mean", "targets"))
        if run.has(name)
    ]
    if not known:
        return f"{said}; what was in the batches was not recorded"
    read = int(max(is_known(run, name).sum() for name in ("input_mean", "classes", "target_mean")))
    which = "no batch" if read >= 0.9 * len(run) else f"none of the {plural(read, 'batch')} that were looked into"
    return f"{said}, and {which} stands apart in its {some(known)} with an effect on the loss{_behind(run)}"


def _behind(run: Run) -> str:
    """The samples whose batches are high in epoch after epoch: no finding, since a hard sample does that as a wrong one."""
    behind = standing_behind(run)
    if not behind:
        return ""
    which = f"sample{'s' if len(behind) > 1 else ''} {some(behind, 8)} {'stand' if len(behind) > 1 else 'stands'}"
    return f"; {which} behind high losses in the later epochs ({p_value(max(behind.values()))}), hard or wrong: look there"


def _standing_apart(context: Context, signals: list[BadRows], detail: str, least_epochs: int) -> Finding:
    run = context.run
    rows = np.unique(np.concatenate([bad.rows for bad in signals]))
    groups = spans(rows)
    # one signal may miss a batch that another shows
    shared = recurring_ids(run, rows, least_epochs=least_epochs) or max((list(bad.ids) for bad in signals), key=len)
    shown = shown_around(run.loss, groups[0])
    evidence = [_apart(bad, bad.rows, shown) for bad in signals]
    loss, gradient = (float(np.nanmax(distance(run)[rows])) for distance in (loss_distance, gradient_distance))
    shows = "the loss shows" if loss >= min(4.0, gradient) else "their gradients show"
    evidence.append(Evidence(f"their loss reaches {number(loss, 2)} sigma above that of the batches around", "loss", shown))
    if math.isfinite(gradient):
        evidence.append(
            Evidence(f"their gradient norm reaches {number(gradient, 2)} sigma above those around", "grad_norm", shown)
        )
    if shared:
        which = f"sample{'s' if len(shared) > 1 else ''} {some(shared, 8)}"
        evidence.append(Evidence(f"{which} came with them, in {least_epochs} epochs or more", "sample_ids"))
    harmless = _back(run, groups)
    what = "Recurring" if shared else "Bad"
    strength: Strength = "likely"
    return bad_batch_finding(
        context,
        groups,
        detail="recurring" if shared else detail,
        strength=strength,
        title=f"{what} {detail} in {plural(len(rows), 'batch')}",
        text=f"{in_words(context, groups)} hold{'s' if len(rows) == 1 else ''} {detail} unlike all others; {shows} it.",
        evidence=evidence,
        against=[harmless] if harmless is not None else [],
        ids=shared or None,
    )


def _back(run: Run, groups: Sequence[tuple[int, int]], *, level: float = 2.0, within: int = 50) -> Evidence | None:
    """That the loss is back near its level soon after the first span, so that nothing of it lasts; None where it is not."""
    last = groups[0][1]
    distance = loss_distance(run)[last + 1 : last + 1 + within]
    near = np.flatnonzero(distance <= level)
    if not len(near):
        return None
    after = plural(int(near[0]) + 1, "batch")
    return Evidence(f"the loss is within {level:g} sigma of its level again {after} later: nothing of it lasts", "loss")


def _kept_by_batchnorm(context: Context, quiet: list[BadRows]) -> Finding | None:
    """Batches without an effect on their own loss, which BatchNorm takes away, and with one on the next held-out loss."""
    drift = context.found("batchnorm_drift")
    rows = np.unique(np.concatenate([bad.quiet for bad in quiet])) if quiet else np.empty(0, dtype=np.int64)
    if drift is None or not is_left_by(context.run, drift, rows):
        return None
    groups = spans(rows)
    shown = shown_around(context.run.loss, groups[0])
    evidence = [_apart(bad, bad.quiet, shown) for bad in quiet]
    spoiled = plural(len(drift.steps), "validation")
    evidence.append(Evidence(f"BatchNorm's running statistics are off at {spoiled} right after them", "bn_updates"))
    return bad_batch_finding(
        context,
        groups,
        detail="inputs",
        strength="likely",
        title=f"Bad inputs in {plural(len(rows), 'batch')}",
        text=f"{in_words(context, groups)} hold{'s' if len(rows) == 1 else ''} inputs unlike all others. BatchNorm hides that "
        "from the training loss and keeps it in its running statistics, which the next validation uses.",
        evidence=evidence,
    )


def _apart(bad: BadRows, rows: Rows, shown: tuple[int, int]) -> Evidence:
    far, others = number(bad.apart, 2), number(bad.next_largest, 2)
    said = f"the {_LABEL[bad.signal]} of {plural(len(rows), 'batch')} lies {far} sigma and more from the usual"
    return Evidence(f"{said}, no other more than {others}", bad.signal, shown)


_LABEL = {
    "input_mean": "mean of the inputs",
    "input_std": "spread of the inputs",
    "target_mean": "mean target",
    "target_std": "spread of the targets",
    "classes": "class mix",
}


def _relabelled(context: Context, first: int, last: int, proof: Proof) -> Finding:
    """Samples of these batches had another target than in the epochs before and after."""
    run = context.run
    distance = loss_distance(run)[first : last + 1]
    evidence = [proof.evidence]
    if np.isfinite(distance).any():
        most = number(float(np.nanmax(distance)), 2)
        said = f"the loss of these batches reaches {most} sigma above that of the batches around"
        evidence.append(Evidence(said, "loss", shown_around(run.loss, (first, last))))
    return bad_batch_finding(
        context,
        [(first, last)],
        detail="targets",
        strength="proved",
        title=f"Other targets in {plural(last - first + 1, 'batch')}",
        text=f"{in_words(context, [(first, last)])} came with other targets than the same samples have in the epochs beside.",
        evidence=evidence,
    )


def _box(context: Context, boxes: list[tuple[int, int]]) -> Finding:
    run = context.run
    first, last = boxes[0]
    level, _ = loss_level(run)
    height = float(np.median((run.loss - level)[first : last + 1]))
    evidence = [
        Evidence(
            f"the loss steps up by {number(height, 2)} at once and down again as fast, with LR and mode unchanged",
            "loss",
            shown_around(run.loss, (first, last)),
        )
    ]
    known = mostly_known(run, "input_mean", first, last + 1)
    against = (
        [Evidence("inputs and class mix of these batches are not unusual: wrong labels would look like this")] if known else []
    )
    return bad_batch_finding(
        context,
        boxes,
        detail="",
        strength="possible",
        title=f"A span of {plural(sum(b - a + 1 for a, b in boxes), 'batch')} unlike the rest",
        text=f"{in_words(context, boxes)} have a loss of their own. A disturbed model would recover gradually.",
        evidence=evidence,
        against=against,
        missing=() if run.has("input_mean") else (how_to_record("input_mean"),),
    )
