"""The logged validation loss is not the mean over the validation: one batch, batches counted alike, or never reset.

What it sees:
    The validation loss that was logged, and beside it the loss and the size of each batch of the same validation.

Why it matters:
    A value that is one batch's is noise, and picks a checkpoint by chance. A mean over batches that counts a last batch of 8
    samples like one of 128 gives each of the 8 sixteen times its weight. A sum that is never reset hides the change of the
    model behind all epochs before. The training itself is fine.

How it decides:
    By equality: the logged values are, to the rounding of their type, the loss of the last or first batch, the mean over
    batches, the mean or sum over this validation and all before it, or a sum with another divisor, in nine of ten validations
    in which that differs from the mean over samples. Two of these at least, or the equality may be chance. A mean over
    batches is called wrong only where it matters: it is as noisy as a mean over a fifth fewer samples, and off by one percent
    of the value or half of the noise from one validation to the next; or off by ten percent. Else it is mentioned.

What to try:
    Sum up loss times samples, divide by all samples, and start from zero in each validation.

When it is wrong:
    A loss with class weights or ignored targets has a mean by weights, which neither samples nor batches give. A value that
    is none of these functions is not judged: it may be another loss. One batch in a validation has one mean. False-alarm
    rate: none on losses that are recorded right; another loss equals one of these twice by chance in about one of 100,000.

References:
    PyTorch documentation, `torch.nn.CrossEntropyLoss` (reduction). TorchMetrics documentation, `Metric.reset`.
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural, signed
from tb_losslens.analysis.val_means import Identity, Logged, best_of, identity_of, logged_validations, matters, same
from tb_losslens.store.run import Run

ID = "validation_aggregation"
REQUIRES: tuple[str, ...] = ()
"""No column: what it needs are the losses of the batches of each validation."""

_VALIDATION = 'val_loader = writer.wrap(val_loader, split="val")'
_HOW = "writer.log_validation(value, batch_losses=losses, batch_sizes=sizes)"
_TITLES = {
    "last_batch": "The validation loss is that of the last batch",
    "first_batch": "The validation loss is that of the first batch",
    "unweighted": "The validation loss counts a small batch like a large one",
    "not_reset": "The validation loss is never reset",
    "scaled": "The validation loss has the wrong divisor",
}


def find(context: Context, *, rounding: float = 2e-5, lost: float = 0.2, level: float = 0.01, part: float = 0.5) -> Outcome:
    """One finding, or what the logged values are equal to.

    Args:
        context: the run and its measurement.
        rounding: relative difference up to which two numbers are one.
        lost: part of the samples that a mean over batches must be as good as without.
        level: part of the value by which a mean over batches must be off.
        part: part of the noise between validations by which it must move.
    """
    run = context.run
    if not run.validations:
        return Skipped(ID, "no validation with a value was recorded", _VALIDATION)
    if all(v.fields.get("source") == "criterion" for v in run.validations):
        made = plural(len(run.validations), "validation")
        return Checked(ID, f"the values of {made} are means over samples that were taken while recording: none was logged")
    with np.errstate(over="ignore", invalid="ignore"):
        logged = logged_validations(run)
        if not len(logged):
            return Skipped(ID, "the losses of the batches of a validation were not recorded beside its value", _HOW)
        return _decide(run, logged, rounding=rounding, lost=lost, level=level, part=part)


def _decide(run: Run, logged: Logged, *, rounding: float, lost: float, level: float, part: float) -> Outcome:
    count = plural(len(logged), "validation")
    right = int(same(logged.value, logged.right, rtol=rounding).sum())
    how = "samples" if logged.weights else "batches of one size"
    if right >= 0.9 * len(logged):
        return Checked(ID, f"the logged value is the mean over {how} in {right} of {count}")
    found = identity_of(run, logged, rtol=rounding)
    if found is None:
        off = number(100 * median(np.abs(logged.value / logged.right - 1)))
        said = f"the logged value is none of the usual means in {count}"
        return Checked(ID, f"{said}, and off the mean over {how} by a median of {off} percent")
    if found.detail == "unweighted" and not matters(logged, lost=lost, level=level, part=part):
        off = percent(median(np.abs(logged.plain / logged.right - 1)))
        said = f"the logged value is the mean over batches of unequal sizes in {count}"
        return Checked(ID, f"{said}, off by {off}: too little to show")
    return _finding(logged, found, rounding)


def _finding(logged: Logged, found: Identity, rounding: float) -> Finding:
    equal = same(logged.value, found.says, rtol=rounding)
    off = logged.value - logged.right
    most = int(np.argmax(np.abs(off)))
    at = f"at step {logged.validations[most].step:,}"
    evidence = [
        Evidence(f"the logged value is {found.words} in {int(equal.sum()):,} of {plural(len(logged), 'validation')}"),
        Evidence(
            f"{at} {number(logged.value[most])} was logged, and the mean is {number(logged.right[most])} ({signed(off[most])})"
        ),
        Evidence(f"the median difference is {number(median(np.abs(off)))}, beside a mean of {number(median(logged.right))}"),
    ]
    if found.detail == "unweighted":
        last = logged.validations[most].fields.get("batch_sizes") or [0]
        evidence.append(Evidence(f"its batches hold from {number(min(last))} to {number(max(last))} samples"))
    by_value, by_mean = (best_of(values, logged.validations) for values in (logged.value, logged.right))
    if by_value is not by_mean:
        said = f"the best validation is that at step {by_value.step:,} by the logged value, and at {by_mean.step:,} by the mean"
        evidence.append(Evidence(said))
    against = [Evidence("it changes the validation value, not the training loss at the boundary")]
    if not logged.weights:
        evidence.append(Evidence("sizes of batches are equal or not known: the means by samples and by batches are one"))
    return Finding(
        ID, "artifact", "proved", _TITLES[found.detail],
        f"The logged validation loss is {found.words}, not the mean over the validation: it is off by up to "
        f"{number(float(np.abs(off).max()))}, {at.removeprefix('at ')}.",
        detail=found.detail, score=0.9 if found.detail != "scaled" else 0.7,
        steps=tuple(v.step for v, held in zip(logged.validations, equal, strict=True) if held)[:50],
        explains_jump=False, evidence=tuple(evidence), against=tuple(against),
        advice="Sum up loss times samples, divide by the samples, and begin at zero in each validation."
        + (" Choose the checkpoint by that value." if by_value is not by_mean else ""),
        fix=(
            "total, samples = 0.0, 0          # inside the function that validates, so that each validation begins at zero\n"
            "with torch.no_grad():\n"
            "    for x, y in val_loader:\n"
            "        total += criterion(model(x), y).item() * len(y)\n"
            "        samples += len(y)\n"
            f'writer.add_scalar("Loss/val", total / samples, step)   # {number(logged.right[most])} {at}, '
            f"not {number(logged.value[most])}"
        ),
        confirm="Validate once with all samples in one batch: that loss is the mean.",
    )  # fmt: skip
