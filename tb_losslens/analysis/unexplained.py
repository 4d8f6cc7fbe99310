"""What the loss does inside epochs that no cause explains: spikes, and the point where it stops being a number."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.bad_rows import first_nonfinite, gradient_distance, loss_distance
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.divergence import diverged, ends_after
from tb_losslens.analysis.explain import beyond_band, most_are_beyond
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.orders import recurring_ids
from tb_losslens.analysis.outliers import loss_level, spans, standing_apart
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural, signed, some, times
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Ragged, Run

TELLING = ("lr", "train_mode", "sample_ids", "grad_norm", "input_mean")

_ENDS_IT = ("missing_zero_grad", "bad_init", "exploding_gradients", "lr_too_high")
"""Causes that explain a loss which stops being finite."""


def lost(context: Context, *, before: int = 30, near: int = 3, untrained: int = 3) -> Finding | None:
    """The loss that stops being finite, if no batch was found to blame; None if it never does.

    Within `untrained` updates the first of them is the one to look at, and so the LR.
    """
    run = context.run
    broken = first_nonfinite(run)
    if broken is None or any(o.detail == "nonfinite" for o in _findings(context)):
        return None
    row = broken.row
    if broken.lasting and any(ends_after(context, _rows(run, o), row) for o in _findings(context) if _raises_lr(o)):
        return None  # the end of what that finding says
    if broken.lasting and any(o.cause in _ENDS_IT and o.explains_jump for o in _findings(context)):
        return None
    step = int(run.step[row])
    gone = int((~np.isfinite(run.loss[row:])).sum())
    said = f"the loss of {plural(gone, 'batch')} is NaN or infinite, of {len(run) - row:,} from step {step:,} on"
    evidence = [Evidence(said, "loss", (row, len(run)))]
    for name, label in (("loss", "loss"), ("grad_norm", "gradient norm")):
        values = run.float(name)
        middle = max(0, row - near)
        start = max(0, middle - before)
        late, early = median(values[middle:row]), median(values[start:middle])
        if late > 0 and early > 0:
            said = f"the {label} goes from {number(early)} to {number(late)} ({times(late / early)}) just before"
            evidence.append(Evidence(said, name, (start, row)))
    if math.isfinite(broken.inputs) and not broken.inputs:
        evidence.append(Evidence("the inputs of that batch are finite", "input_nonfinite", (row, row + 1)))
    return Finding(
        "unknown", "unknown", "possible", f"The loss stops being finite at step {step:,}",
        f"From step {step:,} on the loss is NaN or infinite"
        + (", and it never comes back" if broken.lasting else ", and it comes back later")
        + (f", after {plural(row, 'update')}: check the LR first." if broken.lasting and 0 < row <= untrained else "."),
        detail="nonfinite", score=0.6, steps=(step,), explains_jump=False, evidence=tuple(evidence),
        missing=missing_lines(context),
        advice="Lower the LR, warm it up, or clip the gradients, and see whether the run gets past this step.",
        confirm=f"Repeat from before step {step:,} with a tenth of the LR: if it gets past, it diverged; else see the batch.",
    )  # fmt: skip


def ends_high(context: Context) -> Finding | None:
    """The loss that ends far above where it began, with nothing to blame; None if it does not, or a cause begins before."""
    run = context.run
    gone = diverged(run)
    if gone is None or not math.isfinite(gone.after):
        return None
    if any(
        o.explains_jump and o.kind == "fault" and min(_rows(run, o), default=len(run)) <= gone.row for o in _findings(context)
    ):
        return None
    step = int(run.step[gone.row])
    said = f"the loss begins at {number(gone.before)} and ends at {number(gone.after)}"
    evidence = [Evidence(said, "loss"), Evidence(f"it stays above from step {step:,} on", "loss", (gone.row, len(run)))]
    lr = run.float("lr")[: gone.row + 1]
    if np.isfinite(lr).any():
        evidence.append(Evidence(f"the LR went up to {number(float(np.nanmax(lr)))} until then", "lr"))
    return Finding(
        "unknown", "unknown", "possible", "The loss ends far above where it began",
        f"The training diverges: {said}, and it stays above from about step {step:,} on.",
        detail="diverged", score=0.6, steps=(step,), explains_jump=False, evidence=tuple(evidence),
        missing=missing_lines(context),
        advice="Lower the LR, warm it up, or clip the gradients; nothing that was recorded says which of them it takes.",
        confirm="Repeat from the start with a tenth of the LR: if the loss falls, it was the LR; else look at the data.",
    )  # fmt: skip


def spikes(context: Context, *, least: float = 10.0, fold: float = 2.0, longest: int = 10, untrained: int = 3) -> list[Finding]:
    """Batches whose loss stands apart from all others and that nothing explains, one finding for all of them.

    Args:
        context: the run and what was decided before.
        least: robust standard deviations above the losses around.
        fold: times the level around.
        longest: batches; what lasts longer is a level of its own and no spike.
        untrained: a spike does not begin within so many batches of the run: that is the loss before anything was learned.
    """
    run = context.run
    distance = loss_distance(run)
    level, _ = loss_level(run)
    with np.errstate(invalid="ignore"):
        high = run.loss >= fold * level
    rows = standing_apart(np.where(np.isfinite(distance), distance, np.nan), least=least)
    groups = [
        (first, last)
        for first, last in spans(rows[high[rows]])
        if first >= untrained and last - first < longest and not _accounted_for(context, first, last)
    ]
    return [_spike(context, groups)] if groups else []


def too_few(context: Context, *, enough: int = 8) -> Finding | None:
    """Half of the jumps or more are larger than cuts inside the epochs show, yet no test tells them from noise; None else."""
    pooled = context.pooled
    measured = [b for b in context.boundaries if math.isfinite(b.z)]
    outside = beyond_band(measured)
    if not most_are_beyond(measured):
        return None
    count = plural(len(measured), "boundary")
    most = max(outside, key=lambda b: abs(b.z))
    band = median(np.array([(b.placebo_high - b.placebo_low) / 2 for b in measured]))
    few = len(measured) < enough
    title = "Too few boundaries to tell a jump from noise" if few else "Larger than noise, without a common sign"
    epochs = f"Train more epochs, or look at a run that has them: with {enough} boundaries a small jump of one sign shows."
    return Finding(
        "unknown", "unknown", "possible", title,
        f"At {len(outside):,} of {count} the jump lies outside of what {percent(0.95)} of cuts inside the same epochs show "
        f"(±{number(band)}), by up to {signed(most.jump)}, but all together they do not tell it from noise.",
        detail="too_few", score=0.3, explains_jump=False,
        evidence=(
            Evidence(f"largest: {signed(most.jump)} at boundary {most.index + 1}, {number(abs(most.z), 2)}× the noise", "loss"),
            Evidence(f"{pooled.up:,} up, {pooled.down:,} down of {pooled.total:,}"),
        ),
        advice=epochs if few else f"See what differs at step {most.step:,} and at the others that stand out.",
        confirm="Train with another seed: jumps that come back at the same boundaries, with the same sign, are no noise.",
    )  # fmt: skip


def _accounted_for(context: Context, first: int, last: int) -> bool:
    """True if a finding, a boundary that moved or the end of the finite losses lies at these rows."""
    run = context.run
    steps = set(run.step[first : last + 1].tolist())
    if any(steps & set(f.steps) for f in _findings(context)):
        return True
    if any(b.batch - 2 <= last and first < b.batch + b.m for b in context.boundaries if b.significant):
        return True
    near = run.loss[first : last + 11]
    return bool(len(near) and not np.isfinite(near).all())


def _spike(context: Context, groups: list[tuple[int, int]]) -> Finding:
    run = context.run
    first, last = groups[0]
    step, count = int(run.step[first]), sum(b - a + 1 for a, b in groups)
    top = max(groups, key=lambda group: float(run.loss[group[0] : group[1] + 1].max()))
    peak = int(top[0] + np.argmax(run.loss[top[0] : top[1] + 1]))
    level, _ = loss_level(run)
    shown = (max(0, first - 20), min(len(run), last + 21))
    said = f"the loss reaches {number(run.loss[peak])} at step {run.step[peak]:,}, beside {number(level[peak])} around it"
    evidence = [Evidence(said, "loss", shown)]
    gradient = float(gradient_distance(run)[peak])
    if math.isfinite(gradient):
        evidence.append(Evidence(f"its gradient norm lies {number(gradient, 2)} sigma above those around", "grad_norm", shown))
    ids = _samples(run.ragged["sample_ids"], groups) if run.has("sample_ids") else []
    rows = np.array([row for a, b in groups for row in range(a, b + 1)], dtype=np.int64)
    again = recurring_ids(run, rows, least_epochs=3) if ids and len(groups) > 2 else []
    named = ""
    if again:
        named = f"sample{'' if len(again) == 1 else 's'} {some(again, 8)} {'is' if len(again) == 1 else 'are'}"
        evidence.append(Evidence(f"{named} in these batches, epoch after epoch", "sample_ids"))
    elif ids:
        evidence.append(Evidence(f"samples {some(ids, 8)} are in it", "sample_ids", (first, last + 1)))
    one = len(groups) == 1
    where = f"Spike at step {step:,}, {plural(count, 'batch')}" if one else f"{len(groups):,} spikes, first at step {step:,}"
    return Finding(
        "unknown", "unknown", "possible", where,
        f"The loss stands out at {plural(count, 'batch')} from step {step:,} on, and "
        + (f"{named} in them each time: look there first." if again else "nothing that was recorded explains it."),
        detail="spike", score=0.4, steps=tuple(int(run.step[r]) for a, b in groups for r in range(a, b + 1))[:1000],
        explains_jump=False, evidence=tuple(evidence), missing=missing_lines(context),
        advice=f"Run the batch of step {int(run.step[peak]):,} again with the weights from before it.",
        confirm="The same batch with other weights: high again means its samples, low means the state of the training.",
    )  # fmt: skip


def _samples(ragged: Ragged, groups: list[tuple[int, int]], *, most: int = 64) -> list[int]:
    """Ids of the batches of `groups`, the first `most`."""
    ids = [int(i) for first, last in groups[:most] for row in range(first, last + 1) for i in ragged[row][:most]]
    return ids[:most]


def _findings(context: Context) -> list[Finding]:
    return [outcome for outcome in context.earlier if isinstance(outcome, Finding)]


def _raises_lr(finding: Finding) -> bool:
    return finding.cause == "lr_increase" and finding.explains_jump


def _rows(run: Run, finding: Finding) -> list[int]:
    """Rows of the steps of a finding."""
    return [int(row) for row in np.flatnonzero(np.isin(run.step, finding.steps))]


def missing_lines(context: Context) -> tuple[str, ...]:
    """The lines of code that record what is missing of the signals that tell causes apart."""
    return tuple(dict.fromkeys(how_to_record(name) for name in TELLING if not context.run.has(name)))
