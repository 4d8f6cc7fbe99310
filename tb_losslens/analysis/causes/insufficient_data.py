"""So few samples that the model learns them by heart, before it has learned what is true of others.

What it sees:
    How often each sample was seen, the training loss and the held-out loss of each validation.

Why it matters:
    The training loss says that all is well, and no number of epochs helps: from the best validation on each makes it worse, and
    the weights of the best one are not good either. What is missing are samples, not steps.

How it decides:
    Each sample was seen eight times or more, and the training loss ends near zero, below a twentieth of the first one: nothing
    is left to be learned from these samples. The held-out loss stays above half of the first one at its best, by medians of
    three, and rises from there for good: with a trend, by noises, and giving back a quarter of what was learned. It must have
    learned something, a tenth of the first loss, or nothing shows that inputs tell of the targets at all. Where it falls below
    half, what was learned holds for others too, and a rise after that is `overfitting` alone; here that is named second.

What to try:
    More data, or augmentation, which makes more of them; a smaller model; weights from a larger data set to begin with. Fewer
    epochs save what was learned, and no more.

When it is wrong:
    Targets that are uncertain in themselves keep the held-out loss up as well, with any number of samples; then more of them
    mend the rise, and not the level. A held-out set of other data stays above, too: where its inputs differ it is
    `validation_mismatch`. Labels without a signal are never learned. Wrong labels of the training data alone are `label_noise`.
    `python -m demo.healthy` counts false alarms.

References:
    Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017 (learning curves over the number of samples). Zhang
    et al., Understanding Deep Learning Requires Rethinking Generalization, 2017.
"""

from __future__ import annotations

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.exposures import Exposures, exposures, weights_of
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.held_out_curve import Curve, epoch_of, held_out_curve, inputs_moved, place
from tb_losslens.analysis.held_out_rise import Rise, mechanisms, rise_of
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, p_value, percent, plural, some

ID = "insufficient_data"
REQUIRES: tuple[str, ...] = ("loss",)

_HOW = 'val_loader = writer.wrap(val_loader, split="val")'
_WRAP = "train_loader = writer.wrap(train_loader)"


def find(
    context: Context,
    *,
    often: float = 8.0,
    near_zero: float = 0.05,
    above: float = 0.5,
    worth: float = 0.1,
    level: float = 0.02,
    noises: float = 4.0,
    lost: float = 0.25,
) -> Outcome:
    """One finding, or what the training and the held-out loss come to.

    Args:
        context: the run and its measurement.
        often: times that each sample was seen, at least.
        near_zero: part of the first loss, at the end of the training loss.
        above: part of the first loss at the best validation.
        worth: part of the first loss that the held-out loss must have fallen by.
        level: p of the trend after the best validation.
        noises: the rise in standard deviations from one validation to the next; also of what was learned.
        lost: part of the learned loss that was lost again.
    """
    curve, seen = held_out_curve(context), exposures(context.run)
    if curve is None:
        return Skipped(ID, "no validation with a value was recorded", _HOW)
    if seen is None:
        return Skipped(ID, "it is not known how many samples there are", _WRAP)
    times = f"each of {plural(seen.samples, 'sample')} was seen {number(seen.each, 2)} times"
    if seen.each < often:
        return Checked(ID, f"{times}: too few to know them by heart")
    best, end = float(curve.smooth[curve.best]), median(curve.train[-3:])
    if not curve.start > 0 or not end < near_zero * curve.start:
        return Checked(ID, f"{times}, and the training loss ends at {number(end)} after {number(curve.start)} at first")
    if not best > above * curve.start:
        fallen = f"the held-out loss falls from {number(curve.start)} to {number(best)}"
        return Checked(ID, f"{fallen}: what was learned holds for others")
    if not curve.learned > max(worth * curve.start, noises * curve.noise):
        low = f"the held-out loss is never far below {number(curve.start)}"
        return Checked(ID, f"{low}: nothing shows that the targets can be learned")
    rise = rise_of(curve)
    if not rise.lasts(level=level, noises=noises, lost=lost):
        return Checked(ID, f"{times}, and the held-out loss ends at {number(curve.end)} after {number(best)} at its best")
    if inputs_moved(curve, curve.best) or context.found("validation_mismatch") is not None:
        return Checked(ID, f"{times}, but the validations have other inputs")
    return _finding(context, curve, seen, rise, end)


def _finding(context: Context, curve: Curve, seen: Exposures, rise: Rise, end: float) -> Finding:
    run, best = context.run, curve.best
    row = int(curve.rows[best])
    step = int(run.step[min(row, len(run)) - 1])
    level = number(float(curve.smooth[best]))
    many, start = plural(seen.samples, "sample"), number(curve.start)
    passes = seen.each * row / len(run)
    evidence = [
        Evidence(f"each of {many} was seen {number(seen.each, 2)} times", "sample_ids" if seen.counted else None),
        *_by_exposures(curve, seen.each, len(run)),
        Evidence(f"the training loss ends at {number(end)}, {percent(end / curve.start)} of the first one, {start}", "loss"),
        Evidence(
            f"the held-out loss is best {place(run, curve.validations[best])}, {level}, after {_passes(passes)}, and "
            f"ends at {number(curve.end)} ({p_value(rise.p)})",
            "loss",
            (max(0, row - 1), len(run)),
        ),
    ]
    weights = weights_of(run)
    if weights is not None and weights > seen.samples:
        ratio = number(weights / seen.samples, 2)
        evidence.append(Evidence(f"the model has {weights:,} trained weights, {ratio} for each sample"))
    before = mechanisms(context, step)
    against = [
        Evidence("it is about the held-out loss, and explains no jump of the training loss"),
        Evidence(f"targets that are uncertain in themselves would keep the held-out loss near {level} as well"),
        *([Evidence(f"{some(before)} begin{'s' if len(before) == 1 else ''} before it: mend that first")] if before else []),
    ]
    epoch = epoch_of(run, curve.validations[best])
    return Finding(
        ID, "fault", "possible" if before else "likely", "Too few samples: they are learned by heart",
        f"The training loss of {many}, each seen {number(seen.each, 2)} times, falls to {number(end)}, while the held-out loss "
        f"is {level} at its best and ends at {number(curve.end)}, after {start} at first.",
        score=min(0.95, 0.6 + rise.share / 4), steps=(step,), explains_jump=False, evidence=tuple(evidence),
        against=tuple(against),
        advice="Get more samples, or make more of them by augmentation; else a smaller model, or weights from a larger data "
        f"set to begin with. Stopping {place(run, curve.validations[best])} saves what was learned, and no more.",
        fix=_fix(seen.samples, epoch, min((e.epoch for e in run.epochs), default=0)),
        confirm=f"Train on half of the samples for as many steps: if the best held-out loss is clearly above {level}, twice as "
        "many samples will lower it by about as much.",
    )  # fmt: skip


def _passes(count: float) -> str:
    return f"{number(count, 2)} pass{'' if number(count, 2) == '1' else 'es'}"


def _by_exposures(curve: Curve, each: float, rows: int) -> list[Evidence]:
    """The two losses after 1, 2, 4, ... passes over the samples: the learning curve by exposures."""
    passes = curve.rows * (each / rows)
    said, last = [], -1
    for power in range(12):
        k = int(abs(passes - 2.0**power).argmin())
        if k > last and passes[k] > 0.7 * 2**power:
            said.append(f"{_passes(float(passes[k]))} {number(curve.train[k])} and {number(curve.value[k])}")
            last = k
    return [Evidence(f"training and held-out loss after {some(said, 8)}", "loss")] if len(said) > 1 else []


def _fix(samples: int, epoch: int | None, first: int) -> str:
    epochs = "epochs" if epoch is None else str(epoch - first + 1)
    note = "" if epoch is None else "      # so many epochs to the best held-out loss"
    return (
        "# what more samples are worth: the best held-out loss of a half and of all\n"
        f"for count in ({samples // 2}, {samples}):\n"
        f"    part = torch.utils.data.Subset(train_dataset, torch.randperm({samples})[:count].tolist())\n"
        f"    print(count, train_and_validate(part, epochs={epochs}))" + note
    )
