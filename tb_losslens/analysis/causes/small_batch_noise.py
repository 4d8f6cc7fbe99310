"""The loss strays from batch to batch because a batch holds few samples: the trend is there, but no single batch shows it.

What it sees:
    How far the loss of a batch strays from its neighbours, beside the loss itself, beside what the run learned, and beside how
    far the losses of single samples lie apart within the batches.

Why it matters:
    Such a curve looks like a training that does not work, and any two of its batches seem to tell a story. It is the error of a
    mean of a few samples. The gradient is as noisy, which a low enough LR averages away.

How it decides:
    Two equalities of statistics. Within the batches the variance of single losses over their number is what which samples were
    drawn does to the loss; it must be the variance between batches, within `match`. And four neighbouring batches must stray
    half as far as one, as the root of the number of samples says. Then the size: in batches of `few` samples at most the noise
    is `of_level` of the loss or `of_learned` of all that the run learned: four times as many samples would still be too few to
    show a tenth of that. Larger batches are not judged. Where single losses were not read it is possible only.

What to try:
    Nothing is broken. Read a mean over as many batches as it says, or take larger batches where the run allows it.

When it is wrong:
    Samples that come in an order stray together (`incomplete_shuffle`), and so do losses under an LR that is too high; there
    the two variances differ. On heavy tails a few samples make most of both. False-alarm rate: it is no fault, and stands after
    all that explains something.

References:
    McCandlish et al., An empirical model of large-batch training, 2018 (gradient noise scale). Smith et al., Don't decay the
    learning rate, increase the batch size, 2018.
"""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.divergence import diverged
from tb_losslens.analysis.exposures import exposures
from tb_losslens.analysis.few_samples import BatchNoise, batch_noise_of, share_of_sampling
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.smoothness import may_be_smoothed
from tb_losslens.analysis.text import number, percent, plural, times
from tb_losslens.store.run import Run

ID = "small_batch_noise"
REQUIRES: tuple[str, ...] = ("loss", "batch_size")

_OTHERS = ("running_mean", "smoothed_metric", "hidden_nonfinite", "incomplete_shuffle", "lr_too_high", "exploding_gradients")
"""Causes under which the noise between batches is not that of which samples they drew."""


def find(
    context: Context,
    *,
    few: int = 8,
    of_level: float = 0.3,
    of_learned: float = 0.2,
    any_level: float = 0.1,
    match: float = 2.0,
    halves: float = 1.5,
    clear: float = 5.0,
    part: float = 0.1,
) -> Outcome:
    """Decides whether few samples in a batch are why the loss is rough.

    Args:
        context: the run and its measurement.
        few: samples in a batch that count as few.
        of_level: noise of such a batch over the loss, at least.
        of_learned: noise of such a batch over what the run learned, at least.
        any_level: noise over the loss there, at least.
        match: factor that the variance between batches may be off from what the one within them leads one to expect.
        halves: the same for the noise of four batches against half of that of one.
        clear: standard errors by which the run must have learned something: else there is no trend to see.
        part: part of the loss, and of what was learned, that the noise of a batch of the advised size is.
    """
    run = context.run
    seen = batch_noise_of(run)
    if seen is None:
        return Skipped(ID, f"{plural(len(run), 'batch')} are too few, or a loss is not finite", "")
    other = next((name for name in _OTHERS if context.found(name) is not None), None)
    if other is not None or diverged(run) is not None or may_be_smoothed(run):
        why = f"`{other}` was found" if other else "the curve is smoothed, or leaves its level for good"
        return Checked(ID, f"{why}: its noise of {number(seen.noise)} is not that of the samples alone")
    size = f"batches of {number(seen.samples)} stray by {number(seen.noise)}"
    if context.found("lr_too_low") is not None:
        return Checked(ID, f"{size}; that the loss fell by {number(seen.learned)} only has another reason (`lr_too_low`)")
    if seen.learned < clear * seen.error or not seen.level > 0:
        return Checked(ID, f"{size}, and the loss falls by {number(seen.learned)}: there is no trend that it hides")
    if seen.samples > few:
        return Checked(ID, f"{size}, which are more than {few} samples")
    of_all = seen.noise >= of_learned * seen.learned and seen.noise >= any_level * seen.level
    if not of_all and seen.noise < of_level * seen.level:
        return Checked(ID, f"{size}, the loss is at {number(seen.level)} and fell by {number(seen.learned)}: the trend shows")
    ratio, read = share_of_sampling(run)
    if not 1 / match <= ratio <= match and not math.isnan(ratio):
        return Checked(ID, f"the variance between batches is {times(ratio)} what their samples lead one to expect")
    if not 1 / halves <= 2 * seen.pooled <= halves:
        return Checked(ID, f"four batches stray {times(seen.pooled)} as far as one, and single draws half as far")
    return _finding(run, seen, ratio, read, part)


def _finding(run: Run, seen: BatchNoise, ratio: float, read: int, part: float) -> Finding:
    samples = round(seen.samples)
    needed = _needed(run, seen, part)
    batches = max(2, round(needed / samples))
    single = "1 sample" if samples == 1 else f"{samples:,} samples"
    rough = f"the loss strays by {number(seen.noise)} from batch to batch: {percent(seen.noise / seen.level)} of its level"
    evidence = [
        Evidence(f"{rough}, {percent(seen.noise / seen.learned)} of the {number(seen.learned)} that the run learned", "loss"),
        Evidence(f"means of four neighbouring batches stray {times(seen.pooled)} as far: half, as of single draws", "loss"),
    ]
    if math.isfinite(ratio):
        text = f"that is {times(ratio)} the variance which the spread of single losses within {plural(read, 'batch')} explains"
        evidence.append(Evidence(text, "per_sample"))
    elif samples == 1:
        evidence.append(Evidence("each batch is 1 sample, so its loss is that of the sample", "batch_size"))
    known = math.isfinite(ratio) or samples == 1
    slope = _kept(run)
    if slope:
        evidence.append(Evidence(slope, "grad_dot_update"))
    return Finding(
        ID, "benign", "likely" if known else "possible", "Noise of small batches",
        f"With {single} in a batch the loss strays by {number(seen.noise)} around a level of {number(seen.level)}, while the "
        f"whole run brought it down by {number(seen.learned)}: only the mean of {plural(batches, 'batch')} shows the trend.",
        score=0.7 if known else 0.4, explains_jump=False, evidence=tuple(evidence),
        missing=() if known or run.has("per_sample") else ("writer.log_batch(loss, per_sample=losses)",),
        advice=f"Nothing to fix. Read the curve through a mean of {plural(batches, 'batch')}, or take batches of {needed:,} "
        f"samples: either strays by {number(seen.noise / math.sqrt(batches))}.",
        fix=f"train_loader = DataLoader(train_data, batch_size={needed}, shuffle=True)      # was {samples}",
        confirm=f"Draw the mean of {plural(batches, 'batch')}: it strays by {number(seen.noise / math.sqrt(batches))}.",
    )  # fmt: skip


def _needed(run: Run, seen: BatchNoise, part: float, *, most: float = 64.0) -> int:
    """The power of 2 of samples whose noise is `part` or less, at most `most` times as many as now, and the data set."""
    wanted = min(max(2 * seen.samples, seen.needed(part)), most * seen.samples)
    known = exposures(run)
    size = 2 ** math.ceil(math.log2(wanted))
    return int(min(size, known.samples)) if known is not None and known.samples > seen.samples else size


def _kept(run: Run, *, least: int = 30) -> str:
    """How much of the descent that an update has along its own gradient is there on the next batch, in words; "" if unknown."""
    own, after = run.float("prev_grad_dot_update"), run.float("grad_dot_update")
    both = np.isfinite(own) & np.isfinite(after) & by_turn(run)
    if both.sum() < least or not own[both].sum() < 0:
        return ""
    kept = float(after[both].sum() / own[both].sum())
    if not math.isfinite(kept) or kept > 0.5:
        return ""
    return f"of the slope that an update has on its own batch only {percent(max(0.0, kept))} is left on the next one"
