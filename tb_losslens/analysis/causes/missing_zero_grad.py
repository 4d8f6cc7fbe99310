"""Gradients are not cleared between optimiser steps, so each step uses those of the steps before once more.

What it sees:
    `grads_before_backward` of every step where it was read: 1 if gradients were there at each backward since the step
    before. `grads_untouched`: 1 if they were the same tensors as after that step, and nobody had written to them. The
    gradient norm, and where the loss leaves its level for good.

Why it matters:
    `backward` adds to the gradients that are there. Without `optimizer.zero_grad()` a step follows the sum of all
    gradients so far, old ones at full weight: steps grow, the loss swings and mostly diverges. Where gradients are
    cleared once an epoch only, the first step of each epoch is a small one and the last ones are large.

How it decides:
    By equality, not by a test: gradients that a step has left and that nobody has touched until the next backward were not
    cleared. Gradients that were there but had been written to are no proof: an auxiliary loss may have had its backward
    first, after they were cleared. It is called a fault where they were untouched in most steps from some step on, those that
    begin an epoch left aside, and in ten at least, so that one odd step is no habit; where others are cleared, it is said in
    how many they are not (`sometimes`). Accumulation on purpose clears them
    after each step, hence is none. It explains a loss that ends far above where it began, or stops being finite, after that
    step; and where gradients are cleared once an epoch, boundaries that move.

What to try:
    `optimizer.zero_grad()` after each optimiser step, before the next backward.

When it is wrong:
    A loop that never clears them and has a second backward that is not seen before the criterion's is not told apart from one
    that does: it is said that both may be. False-alarm rate: none on steps that are recorded right. A step with too few
    micro-batches at the end of an epoch is `accumulation_remainder`.

References:
    PyTorch documentation, `torch.optim.Optimizer.zero_grad`.
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.divergence import diverged
from tb_losslens.analysis.explain import jumps, share_against_rest
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.known import read_late
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run

ID = "missing_zero_grad"
_EARLY = "writer.watch(model, optimizer, criterion=criterion)     # before the first batch"
REQUIRES: tuple[str, ...] = ("grads_before_backward",)


def find(context: Context, *, most: float = 0.5, least: int = 10) -> Outcome:
    """One finding, or how many steps were looked at.

    Args:
        context: the run and its measurement.
        most: part of the steps from the first such one on that makes it a habit.
        least: steps with gradients that nobody cleared.
    """
    run = context.run
    left = run.float("grads_before_backward")
    untouched = run.float("grads_untouched")
    there, kept = np.flatnonzero(left > 0), np.flatnonzero((left > 0) & (untouched > 0))
    known = np.flatnonzero(np.isfinite(left))
    if len(there) and not len(kept):
        return Checked(ID, f"gradients were there before the backward of {plural(len(there), 'step')} {_EITHER}")
    if not len(kept):
        fine = f"gradients were cleared before the first backward of each of {plural(len(known), 'step')}"
        since = read_late(run, "grads_before_backward")
        return Skipped(ID, f"{since}; after that {fine}", _EARLY) if since else Checked(ID, fine)
    sure = np.zeros(len(run), dtype=bool)
    sure[kept] = True
    starts = {epoch.first for epoch in context.epochs}
    told = known[(left[known] == 0) | np.isfinite(untouched[known])]
    later = np.array([row for row in told if row >= kept[0] and int(row) not in starts], dtype=np.int64)
    habit = int(sure[later].sum())
    if habit < least or habit < most * len(later):
        said = f"gradients were there before the backward of {plural(len(kept), 'step')} of {len(known):,}"
        return Checked(ID, f"{said}, first at step {int(run.step[kept[0]]):,}: too few for a loop that never clears them")
    cleared = np.array([row for row in known if row >= kept[0] and left[row] == 0], dtype=np.int64)
    each_epoch = len(cleared) > 1 and set(cleared.tolist()) <= starts
    return _finding(context, kept, later, habit, cleared, each_epoch=each_epoch)


_EITHER = (
    "of which it is not known what they were: those of the step before, that nobody cleared, or those of another backward "
    "of the same step, as of an auxiliary loss"
)


def _finding(context: Context, kept: Rows, later: Rows, habit: int, cleared: Rows, *, each_epoch: bool) -> Finding:
    """`kept`: rows with old gradients; `later`: those looked at; `cleared`: those that clear, under `each_epoch` its first."""
    run, first = context.run, int(kept[0])
    step = f"{int(run.step[first]):,}"
    said = f"gradients of the steps before were there at the backward of {habit:,} of {plural(len(later), 'step')} looked at"
    evidence = [Evidence(f"{said}, first at step {step}", "grads_before_backward", (first, int(kept[-1]) + 1))]
    norm = _norms(run, first)
    if norm is not None:
        evidence.append(norm)
    gone = diverged(run)
    breaks = gone is not None and gone.row >= first - 1
    if gone is not None and breaks:
        end = f"is not finite from step {run.step[gone.row]:,} on" if np.isnan(gone.after) else f"ends at {number(gone.after)}"
        evidence.append(Evidence(f"the loss begins at {number(gone.before)} and {end}", "loss", (gone.row, len(run))))
    at = tuple(b.index for b in context.boundaries if each_epoch and b.batch in set(cleared.tolist()))
    moved = bool(at) and jumps(context, at)
    sometimes = not each_epoch and len(np.intersect1d(cleared, later)) > 0
    period = _period(cleared) if sometimes else 0
    if period:
        said = f"they are cleared once in {period} steps, and the optimiser steps in each"
        evidence.append(Evidence(said, "grads_before_backward"))
    against = []
    if not (breaks or moved):
        against.append(Evidence("the loss neither diverges nor jumps with it", "loss"))
    return Finding(
        ID, "fault", "proved", "Gradients are not cleared between steps",
        _text(run, step, habit / len(later), sometimes=sometimes, each_epoch=each_epoch),
        detail="each_epoch" if each_epoch else "sometimes" if sometimes else "never", score=0.95 if breaks or moved else 0.7,
        boundaries=at, steps=(int(run.step[first]),),
        share=share_against_rest(context, at) if moved and not breaks else None,
        explains_jump=breaks or moved, evidence=tuple(evidence), against=tuple(against),
        advice="Clear the gradients after each optimiser step, before the next backward."
        + (f" If {period} backwards were to be added up, let the optimiser step once in {period} as well." if period else ""),
        fix=_fix(step, _optimizers(run), sometimes=sometimes),
        confirm="Print `next(model.parameters()).grad` right before `loss.backward()`: it must be None or zero.",
    )  # fmt: skip


def _text(run: Run, step: str, part: float, *, sometimes: bool, each_epoch: bool) -> str:
    """Whose gradients are not cleared, and when; `part` of the steps."""
    count = _optimizers(run)
    whose = "the gradients" if count < 2 else f"the gradients of at least one of {count} optimisers"
    if each_epoch:
        return (
            f"Nobody clears {whose} except at the first step of each epoch: each step uses those of earlier steps again. "
            "`zero_grad` stands outside the loop over batches."
        )
    if sometimes:
        share = percent(part) if part < 0.99 else "nearly all"
        on = f"from step {step} on"
        return f"Nobody clears {whose} in {share} of the steps {on}: each of them uses those of earlier steps again."
    return f"Nobody clears {whose} from step {step} on: each step uses those of earlier steps again."


def _fix(step: str, optimizers: int, *, sometimes: bool) -> str:
    if optimizers > 1:
        clear = (
            f"    for one in optimizers:        # all {optimizers} of them: gradients were left over from step {step} on\n"
            "        one.zero_grad()\n"
        )
    elif sometimes:
        clear = f"    optimizer.zero_grad()     # in each step, under no condition: it was left out from step {step} on\n"
    else:
        clear = f"    optimizer.zero_grad()     # in each step: gradients were left over from step {step} on\n"
    steps = "    for one in optimizers:\n        one.step()" if optimizers > 1 else "    optimizer.step()"
    return f"for x, y in train_loader:\n{clear}    loss = criterion(model(x), y)\n    loss.backward()\n{steps}"


def _optimizers(run: Run) -> int:
    """Optimisers whose state was recorded at an epoch's ends, 0 if none was."""
    states = [event.fields.get("optimizer_state") for event in run.events]
    return max((len(state) for state in states if isinstance(state, list | tuple)), default=0)


def _period(cleared: Rows, *, most: float = 0.8) -> int:
    """Steps from one clearing to the next where `most` of them are that far apart, else 0."""
    gaps = np.diff(cleared)
    if len(gaps) < 3:
        return 0
    lengths, counts = np.unique(gaps, return_counts=True)
    top = int(np.argmax(counts))
    return int(lengths[top]) if lengths[top] > 1 and counts[top] >= most * len(gaps) else 0


def _norms(run: Run, first: int, *, count: int = 20) -> Evidence | None:
    """How the gradient norm grows, from the first `count` known values to the last."""
    norm = run.float("grad_norm")
    known = finite(norm[max(0, first - 1) :])
    if len(known) < 2 * count:
        return None
    early, late = median(known[:count]), median(known[-count:])
    if not late > 2 * early:
        return None
    return Evidence(
        f"the gradient norm grows from {number(early)} to {number(late)}", "grad_norm", (max(0, first - 1), len(run))
    )
