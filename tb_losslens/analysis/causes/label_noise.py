"""Labels of the training data are wrong: some, as the held-out data show; or the inputs tell nothing of any.

What it sees:
    The held-out loss against the training loss right around each validation, the loss of the first pass over the samples, and
    the losses of single samples by their ids.

Why it matters:
    Wrong labels set a floor that no model and no LR gets below, and a large model learns them by heart in the end, at the cost
    of the right ones. Where no label follows from its input, there is nothing to be learned at all.

How it decides:
    On samples of the same kind the held-out loss lies above the training loss, or level with it. Some labels are wrong in
    training alone where it lies clearly below: by a tenth of the first loss and five standard errors, at the median of three
    validations, with the same criterion; without dropout, small batches under BatchNorm, augmentation (the samples come back
    with equal inputs), a weighted sampler or other inputs to explain it. Whichever of these is not known, it is not claimed;
    nor where the training loss is not below what it was before anything was learned.
    All labels are without a signal where the training loss falls well below the best constant's, but stays at it in the first
    pass, when each sample is new, and the held-out loss never comes below it and ends above: each sample is learned by heart.

What to try:
    Look at the samples listed, and at how labels are joined to inputs; do not take them for wrong unseen. A loss that bears
    wrong labels (label smoothing, mean absolute error), and to stop early.

When it is wrong:
    A held-out set that is easier than the training data shows the same as wrong labels, and one whose labels are mapped in
    another way the same as none. Where the held-out labels are as noisy, nothing shows, and it is left alone. Dropout that is
    no module is not seen. Samples with a high loss may be right and hard. `python -m demo.healthy` counts false alarms.

References:
    Arpit et al., A closer look at memorization in deep networks, 2017. Northcutt et al., Confident learning, 2021. Zhang et
    al., Understanding Deep Learning Requires Rethinking Generalization, 2017.
"""

from __future__ import annotations

import math

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.held_out_curve import Curve, held_out_curve, inputs_moved, place
from tb_losslens.analysis.held_out_gap import Gap, gap_of, other_reason
from tb_losslens.analysis.held_out_rise import mechanisms
from tb_losslens.analysis.high_losses import HighLosses, high_losses
from tb_losslens.analysis.learned import Learned, learned
from tb_losslens.analysis.stats import mean
from tb_losslens.analysis.text import number, percent, plural, some

ID = "label_noise"
REQUIRES: tuple[str, ...] = ("loss", "epoch")

_HOW = 'val_loader = writer.wrap(val_loader, split="val")'


def find(
    context: Context,
    *,
    part: float = 0.1,
    errors: float = 5.0,
    heart: float = 0.85,
    near: float = 0.03,
    noises: float = 4.0,
) -> Outcome:
    """One finding, or how the two losses compare.

    Args:
        context: the run and its measurement.
        part: of the first loss, by which the held-out loss lies below the training loss.
        errors: the same in standard errors.
        heart: part of the best constant's loss that the training loss ends below.
        near: part of it that the loss of the first pass, and the held-out loss at its best, may lie below it.
        noises: by which the held-out loss ends above it, in standard deviations from one validation to the next.
    """
    run, curve, seen = context.run, held_out_curve(context), learned(context.run)
    if curve is None:
        return Skipped(ID, "no validation with a value was recorded", _HOW)
    if seen is None or not seen.start > 0 or not curve.start > 0:
        return Checked(ID, "the loss is too short or not positive")
    none = _without_signal(context, curve, seen, heart=heart, near=near, noises=noises)
    if none is not None:
        return none
    gap = gap_of(run, curve)
    if gap is None:
        return Checked(ID, f"{plural(len(curve), 'validation')} are too few to compare the two losses")
    where = place(run, curve.validations[gap.at])
    said = f"the held-out loss is {number(gap.held_out)} {where}, the training loss {number(gap.train)}"
    if not (gap.size > part * curve.start and gap.errors > errors):
        return Checked(ID, f"{said}: not clearly below it anywhere")
    if not gap.train < (seen.start if seen.constant else curve.start):
        return Checked(ID, f"{said}: no less than before anything was learned, which labels that are wrong in part do not do")
    if context.found("incomplete_shuffle") is not None:
        return Checked(ID, f"{said}; the training loss is that of samples in an order, and says nothing of their labels")
    reason = other_reason(run, curve, gap)
    if reason or context.found("validation_mismatch") is not None:
        return Checked(ID, f"{said}; {reason or 'but the validations have other inputs'}")
    return _some(context, curve, gap, seen)


def _some(context: Context, curve: Curve, gap: Gap, seen: Learned) -> Finding:
    run = context.run
    row = int(curve.rows[gap.at])
    step = int(run.step[min(row, len(run) - 1)])
    where = place(run, curve.validations[gap.at])
    evidence = [
        Evidence(
            f"{where} the held-out loss is {number(gap.held_out)}, the training loss around it {number(gap.train)}: "
            f"{number(gap.size)} above, {number(gap.errors, 2)} standard errors",
            "loss",
            (max(0, row - 50), min(len(run), row + 50)),
        ),
        Evidence(f"it is below at {gap.below} of {plural(len(curve) - 2, 'validation')} between the first and the last"),
        Evidence("the same criterion on inputs that are prepared alike, without dropout or augmentation"),
    ]
    high = high_losses(run, int(curve.rows[max(0, gap.at - 1)]), seen.start)
    if high is not None and high.ids:
        evidence.append(Evidence(_in_words(high, seen.start), "per_sample"))
    before = mechanisms(context, step)
    against = [
        Evidence("a held-out set that is easier than the training data would show the same"),
        Evidence("it is a floor of the loss, and explains no jump"),
        *([Evidence(f"{some(before)} begin{'s' if len(before) == 1 else ''} before it: mend that first")] if before else []),
    ]
    missing = () if high is not None else ("writer.log_batch(loss, per_sample=losses)",)
    return Finding(
        ID, "fault", "possible" if before else "likely", "Some training labels are wrong, or harder than the held-out ones",
        f"The held-out loss ({number(gap.held_out)} {where}) lies below the training loss ({number(gap.train)}), which nothing "
        "but the training labels themselves is known to explain.",
        detail="some", score=0.75, steps=(step,), explains_jump=False, evidence=tuple(evidence), against=tuple(against),
        missing=missing,
        advice="Look at the samples with a high loss in each epoch: they may be wrong, or right and hard. Label smoothing "
        "bears some wrong labels; to stop early keeps a large model from learning them.",
        fix=_fix(high.ids[:20] if high is not None else ()),
        confirm="Look at 50 training samples at random, and at 50 held-out ones, and count the wrong labels of each.",
    )  # fmt: skip


def _fix(ids: tuple[int, ...]) -> str:
    if not ids:
        return "criterion = nn.CrossEntropyLoss(label_smoothing=0.1)     # bears some wrong labels"
    return (
        "model.eval()     # a single sample would spoil the statistics of BatchNorm\n"
        f"for i in {list(ids)}:     # the highest losses\n"
        "    x, y = train_dataset[i]\n"
        "    with torch.no_grad():\n"
        "        print(i, y, model(x[None]).argmax().item())\n"
        "model.train()"
    )


def _in_words(high: HighLosses, level: float) -> str:
    share = percent(len(high.ids) / high.asked)
    return (
        f"{len(high.ids):,} of {high.asked:,} samples of which {high.least} losses or more were read ({share}) lie above "
        f"{number(level)} each time: {some(map(str, high.ids), 8)}"
    )


def _without_signal(
    context: Context, curve: Curve, seen: Learned, *, heart: float, near: float, noises: float
) -> Finding | None:
    """The finding for labels without any signal; None where that is not so, or cannot be told."""
    run, base = context.run, seen.start
    if not seen.constant or len(context.epochs) < 4 or len(curve) < 4:
        return None
    first = run.loss[context.epochs[0].first : context.epochs[0].last]
    new = mean(first[len(first) // 2 :])  # of samples that were never seen before: a held-out loss by itself
    end, best = mean(run.loss[-max(1, len(run) // 10) :]), float(curve.smooth[curve.best])
    if not (math.isfinite(new) and end < heart * base and new > (1 - near) * base and best > (1 - near) * base):
        return None
    rises = curve.end - best
    if not (rises > noises * curve.noise and curve.end > (1 + near) * base) or inputs_moved(curve, curve.best):
        return None
    if context.found("validation_mismatch") is not None or mechanisms(context, int(run.step[0])):
        return None
    step = int(run.step[context.epochs[1].first])
    span = (context.epochs[0].first, context.epochs[0].last)
    return Finding(
        ID, "fault", "likely", "The inputs tell nothing of the labels",
        f"The training loss falls to {number(end)} on samples that were seen before, but new ones stay at {number(base)}, the "
        "loss of the best constant, in the first pass and in every validation.",
        detail="all", score=0.8, steps=(step,), explains_jump=False,
        evidence=(
            Evidence(f"the best constant has a loss of {number(base)}"),
            Evidence(f"the second half of the first pass, over samples that are new, has {number(new)}", "loss", span),
            Evidence(f"the held-out loss is {number(best)} at its best, and ends at {number(curve.end)}"),
            Evidence(f"the training loss ends at {number(end)}: the samples are learned one by one", "loss"),
        ),
        against=(
            Evidence("held-out labels that are mapped in another way would be as high, though not the first pass"),
            Evidence("it explains no jump by itself; that samples were seen before does"),
        ),
        advice="Look at how labels are joined to inputs: an index that is off by one, a shuffle of one of the two, a wrong "
        "file. No share of them can be called wrong where none is right.",
        fix="for i in torch.randint(len(train_dataset), (20,)).tolist():\n"
        "    print(i, *train_dataset[i])     # does the label follow from the input?",
        confirm="Shuffle the labels on purpose and train again: if the curves are the same, they carried no signal before.",
    )  # fmt: skip
