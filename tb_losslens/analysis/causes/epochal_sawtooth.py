"""The loss drops when a new pass begins and rises again within it, since samples are forgotten until they come again.

What it sees:
    A drop at nearly every boundary, and a loss that goes back up by half of it and more until the epoch ends: a saw.

Why it matters:
    Learning makes a loss fall, so a rise within each epoch looks like a training that comes apart, and the drop like a bug of
    the loader. It is neither: each sample fits best right after its own update, and the updates on others undo a part of that.
    Under a new order in each epoch the first batches hold samples that were seen half an epoch ago on average, the last ones
    samples of an epoch and a half ago.

How it decides:
    The pooled direction is down at nearly all boundaries, and the loss rises within the epochs by `returns` of the drop, by
    Friedman's test over the blocks of an epoch and by the signs of the epochs. The sample ids must show the saw of the time
    since a sample was last seen: it grows by `apart` of an epoch from the first batches to the last. The LR neither changes at
    the drops nor rises within the epochs, and no other cause explains them. It is likely where the loss goes with that time as
    the sampler drew it: that of a sample against others of its batch and itself at other times, or, where the losses of single
    samples were not read, that of a batch against its place in the epoch. `mostly` all of the rise must follow from it; less
    will do where the loss gains back `still` of each drop and more, so that nothing but the saw is there. Where the noise
    hides it, this is claimed in that case only, and possible. A loss that gains back `partly` of the drop, and `mostly` so with
    that time, has both: what is remembered explains the drops, and this stands beside it.

What to try:
    Nothing is broken. A lower LR makes the teeth smaller. Judge by the held-out loss, or by the mean of a whole epoch.

When it is wrong:
    Samples that come in part of the order of the data set do this at every boundary, too (`incomplete_shuffle`); drops that
    the loss does not take back are `memorization`; a mean that starts anew with each epoch is `running_mean`. Without sample
    ids it is not decided. False-alarm rate: none on healthy trainings so far, and it is no fault.

References:
    Liu and Ma, The epochal sawtooth effect, 2024 (Adam). Feldman and Zhang, "What neural networks memorize and why", 2020.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Boundary, Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.position import Profile, profile
from tb_losslens.analysis.revisits import GapEffect, Revisits, gap_effect, revisits
from tb_losslens.analysis.smoothness import BATCH_LOSS, may_be_smoothed
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.tails import binomial_sf
from tb_losslens.analysis.text import number, p_value, percent, plural, signed
from tb_losslens.store.run import Run

ID = "epochal_sawtooth"
REQUIRES: tuple[str, ...] = ("loss", "epoch", "sample_ids")

_OTHER_ORDERS = ("incomplete_shuffle", "repeated_order")


def find(
    context: Context,
    *,
    nearly_all: float = 0.75,
    returns: float = 0.5,
    level: float = 0.01,
    agrees: float = 0.05,
    twice: float = 0.1,
    apart: float = 0.5,
    same_lr: float = 0.05,
    still: float = 0.9,
    least: float = 0.25,
    mostly: float = 0.67,
    partly: float = 0.25,
) -> Outcome:
    """Decides whether the teeth are those of samples that are forgotten again.

    Args:
        context: the measurement.
        nearly_all: part of the boundaries that must drop.
        returns: part of the drop that the loss gains back within the epoch, at least; of the rise, what must follow from that
            time for this to stand beside another cause.
        level: of the test over the blocks of an epoch, and of that of the time since a sample was last seen.
        agrees: of the test of the signs of the epochs.
        twice: part of the visits that samples which come again in the same epoch may have.
        apart: epochs by which the last samples of an epoch were seen longer ago than its first ones, at least.
        same_lr: relative change of the LR that counts as none.
        still: part of the drop that the loss gains back where it gets no lower from one pass to the next.
        least: part of the rise that the time since a sample was last seen accounts for there, at least.
        mostly: the same where the loss gets lower from pass to pass.
        partly: part of the drop that the loss gains back where this stands beside what explains the rest of it.
    """
    whole = _without_small_ends(context)
    if whole.pooled.reason:
        return Skipped(ID, whole.pooled.reason, "")
    if whole.pooled.direction >= 0:
        said = f"{whole.pooled.down} of {whole.pooled.total} boundaries down, {p_value(whole.pooled.p)}"
        return Checked(ID, f"no drop beyond noise ({said})")
    measured = [b for b in whole.boundaries if math.isfinite(b.z)]
    drops = [b for b in measured if b.jump < b.placebo_median]
    if len(drops) < nearly_all * len(measured):
        return Checked(ID, f"only {len(drops):,} of {plural(len(measured), 'boundary')} drop")
    folded = profile(whole)
    if folded is None:
        return Checked(ID, f"{plural(len(context.epochs), 'epoch')} are too few, or too short, to tell a rise within them")
    whole_tooth = _rises(folded, returns, level, agrees)
    moves = f"the loss moves by {signed(folded.within)} after drops of {number(-folded.jump)} ({p_value(folded.p)})"
    no_saw = Checked(ID, f"no rise within the epochs that takes the drops back: {moves}")
    if not whole_tooth and not _rises(folded, partly, level, agrees):
        return no_saw
    why = _other_reason(context, drops, same_lr)
    if why:
        return Checked(ID, why)
    since = revisits(context.run)
    if since is None or not math.isfinite(since.apart):
        return Skipped(ID, "it is not known for enough batches when their samples were last seen", "")
    if since.again > twice:
        return Checked(ID, f"{percent(since.again)} of the visits are of samples that come again in the same epoch")
    if since.apart < apart:
        ago = f"{number(since.first, 2)} epochs ago, those of its last {number(since.last, 2)}"
        return Checked(ID, f"the samples of the first batches of an epoch were last seen {ago}: no time to forget more")
    effect = gap_effect(context.run, since)
    proven = effect is not None and effect.p < level and effect.slope > 0
    if not whole_tooth:
        follows = proven and effect is not None and effect.slope * since.apart >= mostly * folded.within
        return _beside(_finding(context, drops, folded, since, effect), folded) if follows else no_saw
    stands_still = folded.undone >= still
    if not proven and not stands_still:
        seen = f"the loss rises by {number(folded.within)} after drops of {number(-folded.jump)}"
        return Checked(ID, f"{seen}, and it is not clear that it goes with the time since its samples were seen")
    if effect is not None:
        rise = (effect.slope + (0.0 if proven else 3 * effect.error)) * since.apart
        if rise < (least if stands_still else mostly) * folded.within:
            if proven and rise >= returns * folded.within:
                return _beside(_finding(context, drops, folded, since, effect), folded)
            takes = f"the time since samples were last seen accounts for {number(max(0.0, rise))}"
            return Checked(ID, f"{takes} of a rise of {number(folded.within)} within the epochs")
    return _finding(context, drops, folded, since, effect if proven else None)


def _without_small_ends(context: Context, *, small: float = 0.75) -> Context:
    """The same without the losses of batches that are smaller than usual: these may lie apart at the end of each epoch."""
    run = context.run
    size = run.float("batch_size")
    less = size < small * median(finite(size))
    if not less.any() or 4 * less.sum() > len(run):
        return context
    left = replace(run, columns={**run.columns, "loss": np.where(less, np.nan, run.loss)})
    boundaries, pooled = context.measure(left)
    return replace(context, run=left, boundaries=boundaries, pooled=pooled)


def _rises(folded: Profile, returns: float, level: float, agrees: float) -> bool:
    if not folded.within > 0 or folded.undone < returns or folded.p >= level:
        return False
    chance = float(binomial_sf(folded.same_sign - 1, folded.epochs, 0.5))
    return chance < agrees or (folded.same_sign == folded.epochs >= 3)


def _other_reason(context: Context, drops: list[Boundary], same_lr: float) -> str:
    """What else may be why the loss drops at the boundaries, or rises between them; "" where nothing is known."""
    order = next((name for name in _OTHER_ORDERS if context.found(name) is not None), None)
    if order is not None:
        return f"the samples do not come in a new order each time (`{order}`), so {len(drops):,} drops may be of the order"
    taken = {k for o in context.earlier if isinstance(o, Finding) and o.explains_jump and o.share != 0 for k in o.boundaries}
    if 2 * len(taken & {b.index for b in drops}) > len(drops):
        return f"another cause explains {len(taken):,} of the {len(drops):,} drops"
    lr = context.run.float("lr")
    moved = sum(abs(_ratio(lr, b.batch - 1, b.batch) - 1) > same_lr for b in drops)
    if 2 * moved > len(drops):
        return f"the LR changes at {moved} of the {len(drops):,} drops"
    risen = sum(_ratio(lr, e.first, e.last - 1) > 1 + same_lr for e in context.epochs[1:])
    if 2 * risen > len(context.epochs) - 1:
        return f"the LR rises within {risen} of {plural(len(context.epochs) - 1, 'epoch')}"
    return ""


def _ratio(lr: np.ndarray, before: int, after: int) -> float:
    """LR at row `after` over that at `before`; 1 where one is unknown."""
    if not 0 <= before < len(lr) or not 0 <= after < len(lr):
        return 1.0
    ratio = float(lr[after]) / float(lr[before]) if lr[before] > 0 else math.nan
    return ratio if math.isfinite(ratio) else 1.0


def _finding(
    context: Context, drops: list[Boundary], folded: Profile, since: Revisits, effect: GapEffect | None
) -> Finding:
    run, pooled = context.run, context.pooled
    fall = -median(np.array([b.jump for b in drops]))
    smooth = may_be_smoothed(run)
    evidence = [
        Evidence(f"drop at {len(drops):,} of {plural(pooled.total, 'boundary')}, median {signed(-fall)}", "loss"),
        Evidence(
            f"from the start to the end of an epoch the loss rises by {number(folded.within)} in {folded.same_sign} of "
            f"{plural(folded.epochs, 'epoch')} ({p_value(folded.p)})",
            "loss",
        ),
        Evidence(
            f"the samples of the first eighth of an epoch were last seen {number(since.first, 2)} epochs ago, those of the "
            f"last {number(since.last, 2)}",
            "sample_ids",
        ),
    ]  # fmt: skip
    against: list[Evidence] = []
    missing: list[str] = []
    share = None
    if effect is not None:
        evidence.append(_of(effect))
        share = min(1.0, effect.slope * since.apart / fall) if fall > 0 else None
    else:
        against.append(Evidence("that the loss goes with the time since its samples were seen is not clear beside the noise"))
        missing += [] if run.has("per_sample") else ["writer.log_batch(loss, per_sample=losses)"]
    if run.has("lr"):
        evidence.append(Evidence("the LR changes neither at the drops nor within the epochs", "lr"))
    else:
        missing.append("writer.watch(model, optimizer)")
    if since.again:
        said = f"{percent(since.again)} of the visits are of samples that come again in the same epoch"
        against.append(Evidence(said, "sample_ids"))
    if smooth:
        said = f"each value shares {percent(smooth)} of its noise with the one before: a mean that starts anew drops, too"
        against.append(Evidence(said, "loss"))
        missing.append(BATCH_LOSS)
    certain = effect is not None and run.has("lr") and not smooth
    return Finding(
        ID, "benign", "likely" if certain else "possible", "Samples forgotten within each pass",
        f"The loss drops by {number(fall)} when a new pass begins and rises by {number(folded.within)} within it: what an "
        "update teaches of a sample is lost again until that sample comes back"
        + (f", {number(effect.slope)} for each epoch in between." if effect is not None else "."),
        score=0.9 if certain else 0.5, share=share if certain else None,
        boundaries=tuple(b.index for b in drops), steps=tuple(b.step for b in drops[:20]),
        evidence=tuple(evidence), against=tuple(against), missing=tuple(missing),
        advice=("Log the loss of each batch: it has the drop only if the model makes it. " if smooth else "")
        + "Expected where each update changes much for the samples of its batch. Read the mean of whole epochs and the "
        "held-out loss. If you want it smaller: a lower LR, or a larger batch.",
        fix=_lower(run),
        confirm="Draw the samples with replacement, by RandomSampler(data, replacement=True): the drops are gone.",
    )  # fmt: skip


def _beside(found: Finding, folded: Profile) -> Finding:
    """The same where the loss gains back a part of each drop: what is not lost again is what was learned of the samples."""
    part = folded.within / -folded.jump
    said = f"the loss gains back {percent(part)} of each drop: the rest of it stays, as where samples are remembered"
    return replace(
        found,
        title="Samples forgotten in part within each pass",
        against=(*found.against, Evidence(said, "loss")),
        explains_jump=False,
        share=None,
        score=0.3,
    )


def _of(effect: GapEffect) -> Evidence:
    sure = f"({p_value(effect.p)}, {effect.count:,} {'losses' if effect.single else 'batches'})"
    more = f"{signed(effect.slope)} for each epoch since"
    if effect.single:
        beside = "against others of its batch and itself at other times"
        return Evidence(f"a sample's loss moves by {more} it was last seen, {beside} {sure}", "per_sample")
    return Evidence(f"at the same place a batch's loss moves by {more} its samples were last seen {sure}", "loss")


def _lower(run: Run) -> str:
    rate = median(finite(run.float("lr")))
    if not math.isfinite(rate) or rate <= 0:
        return ""
    return (
        "for group in optimizer.param_groups:\n"
        f'    group["lr"] = {rate / 3:.3g}      # was {rate:.3g}: the drop and the rise shrink with it'
    )
