"""The held-out loss rises while the training loss goes on falling.

What it sees:
    The held-out loss of each validation, the training loss between validations, and what was found before.

Why it matters:
    From its best validation on the model learns what is only true of its training samples. Each further epoch makes it worse on
    all others, and the curve of the training loss does not show that.

How it decides:
    The best validation is that of the least median of three, since the least single value is picked for its noise. After it
    the held-out loss must rise with a trend over four validations or more (rank correlation, p < 0.02), by several times its
    own noise, and lose a quarter or more of what was learned, from the first batches to the best; and the training loss must
    fall meanwhile, and not go up first by more than that. A quarter, since every net that is trained to its end gives a little
    back, and the next seed, another split or a lower LR move the end by some hundredths of what was learned: less than that is
    no reason to change a training. Who keeps weights that lost a quarter could have stopped long before the best: it is said
    where. Where nothing worth the name was learned there is nothing to lose, and it is not claimed. It is a symptom: where a
    fault or a planned change begins before the rise does, or where more than half of the rise comes from one validation to the
    next, it is called possible, as what may follow from a change of data or weights; and where samples that were seen before
    explain the jumps of the training loss, `memorization` is why those move, and this stands beside it.

What to try:
    Stop at the best epoch and keep its weights. Then more data, augmentation, weight decay, dropout, or a smaller model.

When it is wrong:
    Held-out data whose inputs change over the training make it rise as well: it is not claimed then. A spike is back after a
    few validations and has no trend. A held-out loss that rises while its accuracy does too is overconfidence, which label
    smoothing or a temperature mends. A value that is no mean over the validation is `validation_aggregation`; labels that are
    wrong raise it earlier. `python -m demo.healthy` counts false alarms.

References:
    Prechelt, Early Stopping - But When?, 1998 (generalization loss). Guo et al., On Calibration of Modern Neural Networks,
    2017.
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.held_out_curve import Curve, epoch_of, held_out_curve, inputs_moved, place
from tb_losslens.analysis.held_out_rise import mechanisms, rise_of
from tb_losslens.analysis.stats import median, rank_correlation
from tb_losslens.analysis.text import number, p_value, percent, plural, some
from tb_losslens.store.run import Run

ID = "overfitting"
REQUIRES: tuple[str, ...] = ("loss",)

_HOW = 'val_loader = writer.wrap(val_loader, split="val")'


def find(
    context: Context,
    *,
    least: int = 4,
    level: float = 0.02,
    noises: float = 4.0,
    lost: float = 0.25,
    worth: float = 0.05,
    falls: float = 0.05,
) -> Outcome:
    """One finding, or where the held-out loss is best.

    Args:
        context: the run and its measurement.
        least: validations after the best one.
        level: p of their trend.
        noises: the rise in standard deviations from one validation to the next.
        lost: part of the learned loss that was lost again.
        worth: part of the first loss that must have been learned.
        falls: part of the learned loss by which the training loss must fall meanwhile.
    """
    run = context.run
    curve = held_out_curve(context)
    if curve is None:
        return Skipped(ID, "no validation with a value was recorded", _HOW)
    best = curve.best
    after = len(curve) - 1 - best
    where = f"the held-out loss is best {place(run, curve.validations[best])}, {number(curve.smooth[best])}"
    if after < least:
        return Checked(ID, f"{where}, with {plural(after, 'validation')} after it: too few for a rise")
    learned = curve.learned
    if not learned > max(worth * abs(curve.start), noises * curve.noise):
        return Checked(ID, f"{where}, hardly below the first loss of {number(curve.start)}: there was nothing to lose again")
    rise = rise_of(curve)
    if not rise.lasts(level=level, noises=noises, lost=lost):
        gone = percent(max(rise.share, 0.0))
        return Checked(ID, f"{where}, and ends at {number(curve.end)}: {gone} of what was learned is lost again")
    fall = _trained(curve) - median(curve.train[-3:])
    slope, _ = rank_correlation(curve.rows[best + 1 :].astype(float), curve.train[best + 1 :])
    if not (fall > falls * learned and slope < 0):
        return Checked(ID, f"{where}, and rises to {number(curve.end)}, but the training loss does not fall meanwhile")
    top = float(np.nanmax(curve.train[best + 1 :]))
    if top - _trained(curve) > fall:
        return Checked(ID, f"{where}, and rises to {number(curve.end)}, but the training loss goes up to {number(top)} first")
    if inputs_moved(curve, best):
        return Checked(ID, f"{where}, and rises to {number(curve.end)}, but the validations have other inputs after it")
    return _finding(context, curve, share=rise.share, p=rise.p, lost=lost)


def _trained(curve: Curve) -> float:
    """Training loss at the best validation: what it was thrown up to right after that is no level to fall from."""
    best = curve.best
    return float(np.fmin(curve.train[best], median(curve.train[best : best + 3])))


def _risen(curve: Curve, lost: float) -> int:
    """The first validation, after the batch of the best one, at which a part of `lost` of what was learned is lost again."""
    high = (curve.rows > curve.rows[curve.best]) & (curve.value - curve.smooth[curve.best] > lost * curve.learned)
    return int(np.argmax(high)) if high.any() else len(curve) - 1


def _leap(run: Run, curve: Curve, *, part: float = 0.5) -> str:
    """Where the held-out loss rises from one validation to the next by more than `part` of the whole rise; "" for nowhere.

    What is learned by heart is learned bit by bit.
    """
    whole = float(curve.value[curve.best :].max()) - float(curve.smooth[curve.best])
    steps = np.diff(curve.value[curve.best :])
    most = int(np.argmax(steps))
    return place(run, curve.validations[curve.best + 1 + most]) if steps[most] > part * whole else ""


def _finding(context: Context, curve: Curve, *, share: float, p: float, lost: float) -> Finding:
    run, best = context.run, curve.best
    chosen, last = curve.validations[best], curve.validations[-1]
    row = int(curve.rows[best])
    step = int(run.step[min(row, len(run)) - 1])
    span = (max(0, row - 1), len(run))
    level = float(curve.smooth[best])
    most, least = number(_trained(curve)), number(median(curve.train[-3:]))
    best_at = f"{place(run, chosen)}, {number(level)}"
    evidence = [
        Evidence(f"the held-out loss is best {best_at}, and ends at {number(curve.end)}", "loss", span),
        Evidence(f"it rises over the {plural(len(curve) - 1 - best, 'validation')} after that ({p_value(p)})"),
        Evidence(f"{percent(share)} of what was learned is lost again, from {number(curve.start)} at first to {number(level)}"),
        Evidence(f"the training loss falls from {most} to {least} meanwhile", "loss", span),
    ]
    early = np.flatnonzero(curve.value[:best] <= curve.end)
    if len(early):
        evidence.insert(3, Evidence(f"it was no worse than at its end already {place(run, curve.validations[int(early[0])])}"))
    # the best of several that differ by noise may lie long before a fault with which the rise begins
    risen = int(run.step[min(int(curve.rows[_risen(curve, lost)]), len(run)) - 1])
    leap = _leap(run, curve)
    before = mechanisms(context, risen, but=("insufficient_data",))
    against = [
        Evidence("it is about the held-out loss, and explains no jump of the training loss"),
        *([Evidence(f"more than half of the rise comes at once, {leap}, which is how data or weights change")] if leap else []),
        *([Evidence(f"{some(before)} begin{'s' if len(before) == 1 else ''} before it: mend that first")] if before else []),
    ]
    epoch = epoch_of(run, chosen)
    return Finding(
        ID, "fault", "possible" if before or leap else "likely", "The held-out loss rises while the training loss falls",
        f"The held-out loss is best {best_at}, and rises to {number(curve.end)} {place(run, last)}, while the training loss "
        f"falls. {percent(share)} of what was learned is lost again.",
        score=min(0.9, 0.5 + share / 2), steps=(step,), explains_jump=False, evidence=tuple(evidence),
        against=tuple(against),
        advice=f"Stop {place(run, chosen)} and keep those weights. To get further than {number(level)}: more data, "
        "augmentation, weight decay, dropout, or a smaller model.",
        fix=_fix(run, epoch, level),
        confirm=f"Train again and stop {place(run, chosen)}: the held-out loss is about {number(level)} there.",
    )  # fmt: skip


def _fix(run: Run, epoch: int | None, level: float) -> str:
    first = min((e.epoch for e in run.epochs), default=0)
    count = "epochs" if epoch is None else str(epoch - first + 1)
    why = "" if epoch is None else f"        # best after epoch {epoch}, {number(level)}"
    return (
        'best = float("inf")\n'
        f"for epoch in range({count}):{why}\n"
        "    train_one_epoch(model, train_loader)\n"
        "    value = validate(model, val_loader)\n"
        "    if value < best:\n"
        "        best = value\n"
        '        torch.save(model.state_dict(), "best.pt")'
    )

