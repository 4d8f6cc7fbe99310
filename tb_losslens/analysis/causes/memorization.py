"""Samples that were seen before have a lower loss, so the loss steps down when a new pass begins.

What it sees:
    A small drop at nearly every boundary from the first repeated pass on: stairs, flat within an epoch.

Why it matters:
    It is expected wherever a model is large for its data, and often taken for a bug of the loader. It says nothing bad
    by itself; the held-out loss tells whether learning the samples by heart hurts.

How it decides:
    The pooled direction is down, the first repeated pass is among the drops, the LR and the mode do not change with it,
    the epochs hold the same samples, and the held-out loss does not fall along with the jumps. With a probe it is an
    experiment: the loss of the same training batch must fall against that of the same held-out batch. What the local trend
    (the placebo median) does not explain of the median jump is its share. A loss that gains back `rise` of each drop within
    the epoch gets nowhere: that is a sawtooth and left alone here. Where one that takes back less explains the drops, and the
    held-out loss is known not to fall along, this stands beside it: each pass keeps the rest. Where another cause already
    explains most of the drops, this one is not claimed. It is likely only where the LR and the samples of each epoch were
    recorded and neighbouring losses do not share their noise, as those of a moving average do, which may start anew with each
    epoch; else possible.

What to try:
    Nothing is broken. Watch the held-out loss; if it rises: fewer epochs, a lower LR, augmentation.

When it is wrong:
    A restarting `running_mean` drops too (excluded first); an LR that decays at each epoch is `lr_decrease`;
    duplicates in the data make the effect larger.

References:
    Feldman and Zhang, "What neural networks memorize and why", NeurIPS 2020.
    Howard and Whitaker, "Can LLMs learn from a single example?", fast.ai, 2023 (the stairs in fine-tuning).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Boundary, Checked, Evidence, Finding, Pooled, Skipped
from tb_losslens.analysis.orders import ids_of
from tb_losslens.analysis.position import profile
from tb_losslens.analysis.probe_epochs import train_against_heldout
from tb_losslens.analysis.smoothness import BATCH_LOSS, may_be_smoothed
from tb_losslens.analysis.stats import median, sign_test
from tb_losslens.analysis.text import number, p_value, percent, plural, signed, times
from tb_losslens.store.run import Run

ID = "memorization"
REQUIRES: tuple[str, ...] = ("loss", "epoch")


def find(
    context: Context,
    *,
    nearly_all: float = 0.75,
    rise_of_lr: float = 0.2,
    same_lr: float = 0.05,
    rise: float = 0.9,
    heldout_part: float = 0.5,
) -> Outcome:
    """Decides whether the stairs are those of samples seen again.

    Args:
        context: the measurement.
        nearly_all: part of the boundaries that must drop.
        rise_of_lr: relative rise of the LR at a boundary that leaves it out.
        same_lr: relative change of the LR at a boundary that counts as none.
        rise: part of a drop that the loss may gain back within the epoch.
        heldout_part: part of the fall over boundaries that the held-out loss may share before it speaks against.
    """
    run, pooled = context.run, context.pooled
    if pooled.reason:
        return Skipped(ID, pooled.reason, "")
    if pooled.direction >= 0:
        return Checked(ID, f"no drop beyond noise ({pooled.down:,} of {pooled.total:,} boundaries down, {p_value(pooled.p)})")
    measured = [b for b in context.boundaries if math.isfinite(b.z) and not _ratio(run, b) > 1 + rise_of_lr]
    if 2 * len(measured) < len(context.boundaries):
        return Checked(ID, "the LR rises at most boundaries, so a drop cannot be told apart from its effect")
    drops = [b for b in measured if b.jump < b.placebo_median]
    if len(drops) < nearly_all * len(measured):
        return Checked(ID, f"only {len(drops):,} of {plural(len(measured), 'boundary')} drop")
    taken = {
        k
        for o in context.earlier
        if isinstance(o, Finding) and o.explains_jump and o.share != 0 and o.cause != _SAW
        for k in o.boundaries
    }
    if 2 * len(taken & {b.index for b in drops}) > len(drops):
        return Checked(ID, "another cause explains most of the drops")
    cut = [k.index for k in drops if _ratio(run, k) < 1 - same_lr]
    if 2 * len(cut) > len(drops):
        return Checked(
            ID, f"the LR falls at {len(cut):,} of the {len(drops):,} drops, so they cannot be told apart from its effect"
        )
    same = _same_samples(context)
    if same is False:
        return Checked(ID, "the epochs do not hold the same samples")
    gained = _gain_within(context)
    fall = -median(np.array([b.jump for b in drops]))
    without = _without_small_ends(run, drops)
    if 2 * without < fall:
        left = f"without them the loss drops by {number(max(without, 0.0))} instead of {number(fall)}"
        return Checked(ID, f"the drop is that of the smaller batches that end the epochs: {left}")
    if math.isfinite(gained) and gained > rise * fall:
        return Checked(
            ID,
            f"the loss rises within the epochs (median {signed(gained)} after drops of {number(fall)}): a sawtooth, not stairs",
        )
    folded = profile(context) if not any(len(ids_of(run, epoch)) for epoch in context.epochs) else None
    if folded is not None and folded.explains():
        return Checked(ID, f"{folded.in_words()}: samples that were seen before do that, and so do samples {_MIXED}")
    found = _finding(context, drops, fall, gained, same=same, heldout_part=heldout_part)
    saw = context.found(_SAW)
    if saw is None or not saw.explains_jump or saw.share == 0:
        return found
    within = profile(context)
    kept, heldout = fall - max(0.0, within.within if within is not None else gained), _heldout_fall(context)
    if found.strength != "likely" or not heldout <= heldout_part * kept or not kept > 0:
        return Checked(ID, f"a sawtooth explains the drops, and that others of {number(kept)} stay is not known to be by heart")
    return _beside(found, fall, kept)


def _beside(found: Finding, fall: float, kept: float) -> Finding:
    """The same where most of each drop is forgotten again: what is not stays, and is what the next pass begins from."""
    return replace(
        found,
        title="Samples remembered in part",
        text=f"Of each drop of {number(fall)} when a new pass begins {number(kept)} stays ({percent(kept / fall)}): that much "
        "is remembered of the samples from pass to pass.",
        explains_jump=False,
        share=None,
        score=0.3,
    )


_SAW = "epochal_sawtooth"
_EITHER = "as it does where a model has seen its samples before, and where a moving average starts anew."
_PLAIN = "as it does where a model has seen its samples before; that it is this, a plain log does not show."
_MIXED = "that are mixed within a part of the data set only; the order in which they came was not recorded"


def _finding(
    context: Context, drops: list[Boundary], fall: float, gained: float, *, same: bool | None, heldout_part: float
) -> Finding:
    run, pooled, heldout = context.run, context.pooled, _heldout_fall(context)
    trend = median(np.array([b.placebo_median for b in drops]))
    smooth = may_be_smoothed(run)
    # without them an LR that decays, other samples or a mean that starts anew would look the same
    certain = run.has("lr") and bool(same) and not smooth
    share = min(1.0, max(0.0, 1 + trend / fall)) if math.isfinite(trend) and fall > 0 and certain else None
    evidence = [
        Evidence(
            f"drop at {pooled.down:,} of {pooled.total:,} boundaries, median {signed(pooled.median)}{_how_sure(pooled)}",
            "loss",
        ),
        Evidence(f"cuts beside the boundaries change by {signed(trend)} (the trend)"),
    ]
    against: list[Evidence] = []
    missing: list[str] = []
    if gained > 0:
        evidence.append(
            Evidence(f"the loss rises by {number(gained)} within an epoch: what was seen is forgotten again", "loss")
        )
    if run.has("lr"):
        ratios = [_ratio(run, b) for b in drops]
        evidence.append(Evidence(f"the LR stays as it is there (median ratio {times(median(np.array(ratios)))})", "lr"))
    else:
        missing.append("writer.watch(model, optimizer)")
    if same:
        evidence.append(Evidence(f"the same samples in each of {plural(len(context.epochs), 'epoch')}", "sample_ids"))
    elif same is None:
        missing.append("train_loader = writer.wrap(train_loader)")
    if math.isfinite(heldout):
        text = f"the held-out loss changes by {signed(-heldout)} an epoch, the training loss by {signed(-fall)} at a boundary"
        (against if heldout > heldout_part * fall else evidence).append(Evidence(text))
    else:
        missing.append('val_loader = writer.wrap(val_loader, split="val")')
    tested = train_against_heldout(run)
    if tested is not None:
        (evidence if tested.apart else against).append(tested.evidence)
    if smooth:
        said = f"each value shares {percent(smooth)} of its noise with the one before: a mean that starts anew drops, too"
        against.append(Evidence(said, "loss"))
        missing.append(BATCH_LOSS)
    if context.found("repeated_order"):
        against.append(Evidence("the order is the same in each epoch, which is a fault of its own"))
    first = drops[0].index == 0
    if not first:
        against.append(Evidence(f"the first repeated pass does not drop; the first drop is at boundary {drops[0].index + 1}"))
    score = 0.8 + 0.05 * bool(same) + 0.1 * (math.isfinite(heldout) and not against) - 0.25 * len(against)
    return Finding(
        ID, "benign", "likely" if certain and not against else "possible", "Samples seen before",
        f"The loss steps down by {number(fall)} when a new pass begins, "
        + (_EITHER if smooth else _PLAIN if run.plain else "since the model has seen these samples before."),
        score=min(1.0, max(0.1, score)), share=share,
        boundaries=tuple(b.index for b in drops), steps=tuple(b.step for b in drops[:20]),
        evidence=tuple(evidence), against=tuple(against), missing=tuple(missing),
        advice=("Log the loss of each batch: it has the drop only if the model makes it. " if smooth else "")
        + "Expected when a model sees its data again. Watch the held-out loss: if it rises, use fewer epochs, a lower LR "
        "or augmentation.",
        confirm="Train one pass over new samples only: the drop at the boundary is gone.",
    )  # fmt: skip


def _without_small_ends(run: Run, drops: list[Boundary], *, small: float = 0.75, window: int = 5) -> float:
    """Median drop without the batches that end an epoch with fewer samples than usual; infinite where there are none."""
    size = run.float("batch_size")
    usual = median(size[np.isfinite(size)]) if np.isfinite(size).any() else math.nan
    falls, found = [], 0
    for boundary in drops:
        end = boundary.batch
        while end > 0 and size[end - 1] < small * usual:
            end -= 1
        found += end < boundary.batch
        before, after = run.loss[max(0, end - window) : end], run.loss[boundary.batch : boundary.batch + window]
        if np.isfinite(before).any() and np.isfinite(after).any():
            falls.append(float(np.nanmean(before) - np.nanmean(after)))
    return median(np.array(falls)) if falls and 2 * found >= len(drops) else math.inf


def _how_sure(pooled: Pooled, *, level: float = 0.05) -> str:
    """The p-value with what it rests on; "" where the signs of so few boundaries tell nothing (they stand out one by one)."""
    if pooled.by_size:
        return f" ({p_value(pooled.p)}, each against the cuts beside it)"
    return f" ({p_value(pooled.p)})" if pooled.p < level else ""


def _ratio(run: Run, boundary: Boundary) -> float:
    """LR after the boundary over the LR before it; 1 where it is unknown."""
    lr = run.columns.get("lr")
    if lr is None or boundary.batch < 1:
        return 1.0
    before, after = float(lr[boundary.batch - 1]), float(lr[boundary.batch])
    return after / before if before > 0 and math.isfinite(after) and math.isfinite(before) else 1.0


def _same_samples(context: Context) -> bool | None:
    """Whether at least half of neighbouring epochs hold the same set of samples; None if that is unknown.

    With `drop_last` a few samples differ each epoch, so equal loaders over one data set count as well.
    """
    known = same = 0
    for left, right in zip(context.epochs, context.epochs[1:], strict=False):
        a, b = left.fields.get("set_hash"), right.fields.get("set_hash")
        if a is None or b is None:
            continue
        known += 1
        size_a = (left.fields.get("loader") or {}).get("dataset_size")
        size_b = (right.fields.get("loader") or {}).get("dataset_size")
        same += a == b or (size_a is not None and size_a == size_b and 10 * len(left) >= 9 * len(right) >= 8 * len(left))
    return None if not known else 2 * same >= known


def _gain_within(context: Context) -> float:
    """Median rise of the loss from the start to the end of an epoch, positive if it rises at nearly all; NaN if unknown."""
    loss = context.run.loss
    gains = []
    for left, right in zip(context.boundaries, context.boundaries[1:], strict=False):
        if math.isfinite(left.after) and math.isfinite(right.before):
            gains.append(right.before - left.after)
    up, down, p = sign_test(np.array(gains))
    if not gains or not len(loss):
        return math.nan
    all_up = down == 0 and up >= 3  # so few signs cannot reach a p, and nothing that is learned makes a loss rise
    return median(np.array(gains)) if up > down and (p < 0.05 or all_up) else 0.0


def _heldout_fall(context: Context) -> float:
    """Median fall of the held-out loss from one epoch to the next; NaN without two of them."""
    values = np.array([v.value for v in context.run.validations], dtype=np.float64)
    return -median(np.diff(values)) if len(values) > 2 else math.nan
