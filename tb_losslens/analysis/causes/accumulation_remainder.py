"""Gradients are accumulated over several batches, and what is left at the end of an epoch is not stepped as the others are.

What it sees:
    Backwards of each optimiser step (`micro_batches`), how many an epoch leaves without a step and the norm of the gradients
    that they leave, and gradient norms.

Why it matters:
    Where an epoch is no multiple of the number of batches that are accumulated, some are left. Not stepped and not cleared,
    they go into the first step of the next epoch, which is longer than all others by as many. Stepped by themselves, but
    divided by the full number, they make a last step that is too short.

How it decides:
    By equality: an epoch leaves r backwards, and the first step of the next one is made of a + r, where all others are made of
    a, at the batch where a have come (`carried_over`). A last step of r backwards is proved in the same way; that it is too
    short is told by its gradient norm, which lies below the middle between the norm of a sum that is divided by a and of one
    that is divided by r, in nearly every epoch (`short_step`, likely). Backwards that are cleared, that a step after the
    loop takes, or that a counter over epochs completes to a are counted and are no fault. It is never named as why the loss
    jumps: one step that is up to twice as long, or shorter, hardly shows.

What to try:
    Step on the last batch as well, divide by the true number of batches in the step, and clear after each step.

When it is wrong:
    Numbers of batches that vary by design, as in adversarial training, are not judged. Gradients that are set to zeros on a
    device, and not to None, cannot be told from gradients that are left. False-alarm rate: none on steps that are
    recorded right; norms of a few epochs may mislead, hence the demand for nearly all of them.

References:
    PyTorch documentation, Automatic Mixed Precision examples, Gradient accumulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, plural, some
from tb_losslens.store.run import Epoch, Run

ID = "accumulation_remainder"
REQUIRES: tuple[str, ...] = ("micro_batches", "epoch")


@dataclass(frozen=True)
class _Epoch:
    """The end of one epoch, and the begin of the next where there is one.

    Attributes:
        epoch: the rows of it.
        left: backwards that no step of its loop has followed.
        last: row of its last step.
        then: row of the first step of the next epoch, None without one.
        outside: steps were made between the two.
    """

    epoch: Epoch
    left: int
    last: int
    then: int | None
    outside: bool


def find(context: Context, *, regular: float = 0.9, least: int = 5, sure: float = 0.9, least_epochs: int = 3) -> Outcome:
    """One finding, or how many backwards a step has and what becomes of the rest.

    Args:
        context: the run and its measurement.
        regular: part of the steps inside epochs that must have equally many backwards.
        least: such steps.
        sure: part of the epochs whose last step must be too short.
        least_epochs: epochs with such a step.
    """
    run = context.run
    counts = run.float("micro_batches")
    ends = _ends(run, context.epochs)
    outer = {one.last for one in ends} | {one.then for one in ends if one.then is not None}
    inner = [row for row in np.flatnonzero(np.isfinite(counts)).tolist() if row not in outer]
    if len(inner) < least:
        return Checked(ID, f"{plural(len(inner), 'step')} inside epochs: too few to know how many backwards a step has")
    sizes, times = np.unique(counts[inner], return_counts=True)
    usual = int(sizes[np.argmax(times)])
    if times.max() < regular * len(inner):
        return Checked(ID, f"steps have {sizes.min():.0f} to {sizes.max():.0f} backwards, by design or not: no one number")
    carried = [one for one in ends if _is_carried(run, one, usual)]
    if carried:
        return _carried_over(context, ends, carried, usual)
    short = [one for one in ends if 0 < counts[one.last] < usual and one.last == one.epoch.last - 1]
    norms = [ratio for one in short if (ratio := _norm_ratio(run, one.epoch, one.last, inner)) is not None]
    part = median(counts[[one.last for one in short]]) / usual if short else 1.0
    if len(norms) >= least_epochs and np.mean(np.array(norms) < part**0.25) >= sure:
        return _short_step(context, ends, short, usual, median(np.array(norms)))
    return Checked(ID, _fine(ends, len(short), usual, part))


def _ends(run: Run, epochs: Sequence[Epoch]) -> list[_Epoch]:
    counts = run.float("micro_batches")
    stepped = np.flatnonzero(np.isfinite(counts))
    begins = {e.batch: e.fields for e in run.events if e.kind == "epoch_begin"}
    out = []
    for k, epoch in enumerate(epochs):
        rows = stepped[(stepped >= epoch.first) & (stepped < epoch.last)]
        if not len(rows):
            continue
        following = epochs[k + 1] if k + 1 < len(epochs) and epochs[k + 1].first == epoch.last else None
        later = stepped[(stepped >= epoch.last) & (stepped < (following.last if following else epoch.last))]
        left = epoch.fields.get("backwards_left")
        after = begins.get(epoch.last, {}).get("steps_outside") or 0
        outside = bool(after > (epoch.fields.get("steps_outside") or 0))
        whole = isinstance(left, int) and run.continuous(epoch.first, epoch.last + 1)
        first = int(later[0]) if len(later) else None
        out.append(_Epoch(epoch, int(left) if isinstance(left, int) and whole else 0, int(rows[-1]), first, outside))
    return out


def _is_carried(run: Run, one: _Epoch, usual: int) -> bool:
    """True if the first step of the next epoch comes where `usual` batches have come, and has those that were left too."""
    if one.left <= 0 or one.then is None or one.outside:
        return False
    counts = run.float("micro_batches")
    return bool(one.then == one.epoch.last + usual - 1 and counts[one.then] == usual + one.left)


def _norm_ratio(run: Run, epoch: Epoch, row: int, inner: Sequence[int]) -> float | None:
    """Gradient norm at `row` over the median of the other steps of its epoch, before clipping if it is known."""
    for name in ("grad_norm", "grad_norm_at_step"):
        norm = run.float(name)
        others = finite(norm[[other for other in inner if epoch.first <= other < epoch.last]])
        if len(others) and np.isfinite(norm[row]) and median(others) > 0:
            return float(norm[row]) / median(others)
    return None


def _fine(ends: Sequence[_Epoch], short: int, usual: int, part: float) -> str:
    each = f"a step has {plural(usual, 'backward')}"
    if short:
        return f"{each}, the last one of {plural(short, 'epoch')} {number(part * usual)}, and its gradient is not too small"
    left = [one for one in ends if one.left and one.then is not None]
    if not left:
        return f"{each}, and none is left at the end of {plural(len(ends), 'epoch')}"
    stepped = sum(one.outside for one in left)
    how = "a step after the loop took them" if stepped == len(left) else "they were cleared, or completed to a full step"
    return f"{each}; {plural(len(left), 'epoch')} left {some(sorted({one.left for one in left}))}, and {how}"


def _carried_over(context: Context, ends: Sequence[_Epoch], carried: Sequence[_Epoch], usual: int) -> Finding:
    run = context.run
    rows = {one.epoch.last for one in carried}
    at = tuple(b.index for b in context.boundaries if b.batch in rows)
    first = carried[0]
    left, size = first.left, len(first.epoch)
    are = "is" if left == 1 else "are"
    most = max(one.left for one in carried)
    step = f"{run.step[first.then or 0]:,}"
    whole = len([one for one in ends if one.then is not None])
    evidence = [
        Evidence(
            f"the first step of {len(carried)} of {plural(whole, 'epoch')} has {usual + left} backwards: {usual} as any step, "
            f"and {left} that the epoch before left without one; the first is step {step}",
            "micro_batches",
            (max(0, first.epoch.last - 2 * usual), first.epoch.last + 2 * usual),
        )
    ]
    norm = first.epoch.fields.get("gradients_left")
    if isinstance(norm, int | float) and np.isfinite(norm):
        evidence.append(Evidence(f"epoch {first.epoch.epoch} ends with gradients of norm {number(norm)} that no step has used"))
    return Finding(
        ID, "fault", "proved", "Gradients are carried over into the next epoch",
        f"The last {plural(left, 'batch')} of {size:,} in an epoch {are} not stepped, and the gradients "
        f"go into the first step of the next: it is made of {usual + most} batches and not of {usual}, at "
        f"{len(carried):,} of {plural(whole, 'boundary')}.",
        detail="carried_over", score=0.65, boundaries=at,
        steps=tuple(int(run.step[one.then]) for one in carried[:50] if one.then is not None),
        explains_jump=False, evidence=tuple(evidence),
        against=(Evidence(f"one step that is {number((usual + most) / usual)} times as long hardly shows in the loss"),),
        advice=_ADVICE, fix=_fix(usual, size),
        confirm="Print the gradient norm right before the first backward of an epoch: it must be 0 or there must be none.",
    )  # fmt: skip


def _short_step(context: Context, ends: Sequence[_Epoch], short: Sequence[_Epoch], usual: int, ratio: float) -> Finding:
    run = context.run
    rows = {one.epoch.last for one in short}
    at = tuple(b.index for b in context.boundaries if b.batch in rows)
    left, size = int(run.float("micro_batches")[short[0].last]), len(short[0].epoch)
    return Finding(
        ID, "fault", "likely", "The last step of an epoch is too short",
        f"The last step of {len(short)} of {plural(len(ends), 'epoch')} is made of {left} batches and not of {usual}, and its "
        f"gradient is {number(ratio)} times as large as that of the others: as if it were divided by {usual} as well.",
        detail="short_step", score=0.5, boundaries=at, steps=tuple(int(run.step[one.last]) for one in short[:50]),
        explains_jump=False,
        evidence=(
            Evidence(f"{left} backwards at the last step, {usual} at the others", "micro_batches"),
            Evidence(
                f"a sum of {left} that is divided by {left} has a norm of 1 to {number((usual / left) ** 0.5)} times that of "
                f"the others, one that is divided by {usual} {number(left / usual)} to {number((left / usual) ** 0.5)} times",
                "grad_norm",
            ),
        ),
        against=(Evidence("a step that is too short moves no loss up; it only counts its batches for less"),),
        advice=_ADVICE, fix=_fix(usual, size),
        confirm=f"Print what the loss of the last {plural(left, 'batch')} of an epoch is divided by: it must be {left}.",
    )  # fmt: skip


_ADVICE = (
    "Step on the last batch of an epoch as well, divide the losses of a step by the number of batches that it really has, and "
    "clear the gradients after each step."
)


def _fix(usual: int, size: int) -> str:
    return (
        f"accumulate, batches = {usual}, {size}\n"
        "for i, (x, y) in enumerate(train_loader):\n"
        "    count = min(accumulate, batches - i // accumulate * accumulate)     # fewer in the last step\n"
        "    (criterion(model(x), y) / count).backward()\n"
        "    if (i + 1) % accumulate == 0 or i + 1 == batches:\n"
        "        optimizer.step()\n"
        "        optimizer.zero_grad()"
    )
