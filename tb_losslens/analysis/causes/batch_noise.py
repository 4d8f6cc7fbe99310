"""The loss moves at the boundaries no more than at any other cut of the same epochs.

What it sees:
    Jumps of both signs whose size is that of the placebos: other batches, other loss.

Why it matters:
    A new order at each epoch brings other samples into the next batches, but on average no harder ones. Seen once it
    looks like an effect. It is the most frequent cause of a question, and there is nothing to fix.

How it decides:
    No boundary is significant alone, all together have no direction at two window sizes, and most jumps lie where 95 % of the
    cuts inside the same epochs do. The band of few cuts leaves out more of noise: how many by chance is said beside how many
    do. Where most lie outside, more than the few cuts leave out by chance, this is not claimed
    (`unknown` says so). Where all lie inside but go one way, or one lies beyond 3 sigma and outside, it is possible only. It
    says how many batches a side would resolve a jump of a tenth of the loss, unless the curve may be a moving average.

What to try:
    Read the trend through a larger window or a larger batch.

When it is wrong:
    With few boundaries or short epochs an effect can hide in the noise; then it is said how large it may be.
    A steady small drop at each boundary is `memorization`.

References:
    Wilcoxon's signed-rank test; noise of a mean of n samples falls as 1/sqrt(n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.divergence import diverged
from tb_losslens.analysis.explain import beyond_band, most_are_beyond, not_clear, outside_by_chance
from tb_losslens.analysis.finding import Boundary, Checked, Evidence, Finding, Pooled, Skipped
from tb_losslens.analysis.smoothness import BATCH_LOSS, may_be_smoothed
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, p_value, percent, plural, signed, up_and_down

ID = "batch_noise"
REQUIRES: tuple[str, ...] = ("loss", "epoch")


def find(context: Context, *, resolve: float = 0.1) -> Outcome:
    """Decides whether all jumps are within noise; `resolve` is the part of the loss that the advice aims at."""
    pooled = context.pooled
    if pooled.reason:
        return Skipped(ID, pooled.reason, "")
    alone = [b for b in context.boundaries if b.significant]
    if pooled.direction or alone:
        seen = (
            f"direction {'up' if pooled.direction > 0 else 'down'} ({p_value(pooled.p)})"
            if pooled.direction and pooled.p < 0.05
            else f"{plural(len(alone), 'boundary')} beyond their placebos"
        )
        return Checked(ID, f"the jumps are more than noise: {seen}")
    told = {k for o in context.earlier if isinstance(o, Finding) and o.explains_jump for k in o.boundaries}
    if told:
        return Checked(
            ID, f"apart from {plural(len(told), 'boundary')} that another cause explains, the jumps are within noise"
        )
    if context.found("incomplete_shuffle") is not None:
        return Checked(ID, "samples are not mixed, so cuts inside the epochs move as well and are no measure of noise")
    gone = diverged(context.run)
    if gone is not None:
        how = f"ends at {number(gone.after)}" if math.isfinite(gone.after) else "stops being finite"
        return Checked(ID, f"the loss {how}, after {number(gone.before)} at its begin: there is more than noise to explain")
    boundaries = [b for b in context.boundaries if math.isfinite(b.z)]
    outside = len(beyond_band(boundaries))
    count = plural(len(boundaries), "boundary")
    if most_are_beyond(boundaries):
        said = f"at {outside:,} of {count} the jump lies outside of what {percent(0.95)} of cuts inside the epochs show"
        return Skipped(ID, f"{said}, and no test tells these from noise", "")
    size = _median([abs(b.jump) for b in boundaries])
    band = _median([(b.placebo_high - b.placebo_low) / 2 for b in boundaries])
    level = _median([b.before for b in boundaries])
    m = boundaries[0].m
    repeated = context.found("repeated_order") is not None
    one_way = not repeated and is_one_way(pooled)
    open_still = not_clear(boundaries)
    smooth = may_be_smoothed(context.run)
    unsure = one_way or bool(open_still) or 2 * outside >= len(boundaries) or smooth > 0
    trend = _median([b.placebo_median for b in boundaries])
    around = f"±{number(band)}" + (f" around their trend of {signed(trend)}" if abs(trend) > 0.1 * band else "")
    within = f"{len(boundaries) - outside:,} of {len(boundaries):,} jumps (median size {number(size)})"
    evidence = [Evidence(f"{within} lie where {percent(0.95)} of cuts inside the same epochs do, {around}", "loss")]
    ways = Evidence(up_and_down(pooled, repeated=repeated))
    against = [ways] if one_way else []
    evidence += [] if one_way else [ways]
    by_chance = _by_chance(boundaries, outside)
    if 2 * outside >= len(boundaries):
        cuts = _median([float(b.placebo_count) for b in boundaries])
        few = f"only {cuts:.0f} cuts lie around a boundary, and they overlap: the band of so few leaves out more than 1 in 20"
        against.append(Evidence(few))
    advice = "Nothing to fix. Read the trend through a smoothed curve, or use a larger batch."
    aside = ""
    if smooth:
        against.append(
            Evidence(
                f"each value shares {percent(smooth)} of its noise with the one before, as a moving average does and the loss "
                "of single batches does not: a jump would be blurred",
                "loss",
            )
        )
    if open_still:
        far = max(open_still, key=lambda b: abs(b.z))
        aside = f"boundary {far.index + 1} ({signed(far.jump)}, {number(abs(far.z), 2)}× the noise) is not clear"
        but = "beyond the cuts beside it, but not so far, or not at two window sizes, that it is a jump"
        against.append(Evidence(f"{aside}: {but}", "loss"))
        advice = f"See what happens at step {far.step:,}; elsewhere there is nothing to fix."
    if one_way:
        advice = "A small move at each boundary cannot be excluded: more epochs would tell."
    if smooth:
        advice = f"Log the loss of each batch and smooth it in the chart: `{BATCH_LOSS}`. In a moving average a jump can hide."
    elif level > 0 and band > 0:
        needed = max(1, math.ceil(m * (band / (resolve * level)) ** 2))
        length = int(np.median([len(epoch) for epoch in context.epochs]))
        if needed > length:
            advice += (
                f" A change of {percent(resolve)} of the loss cannot be seen at one boundary of epochs of "
                f"{plural(length, 'batch')}: only many epochs together, or a larger batch, would show it."
            )
        elif needed > m:
            advice += f" To see a change of {percent(resolve)} of the loss, average {plural(needed, 'batch')} a side."
        else:
            advice += f" A jump of {percent(resolve)} of the loss would have been seen with {plural(m, 'batch')} a side."
    most, way = max((pooled.up, "up"), (pooled.down, "down"))
    ways_said = f", though {most:,} of {pooled.total:,} go {way}" if one_way else ""
    return Finding(
        ID, "benign", "possible" if unsure else "likely", "Noise from batch to batch",
        f"At {len(boundaries) - outside:,} of {count} the jump (median size {number(size)}) lies where {percent(0.95)} of cuts "
        f"inside the same epochs do ({around}){ways_said}{by_chance}." + (f" {aside[0].upper()}{aside[1:]}." if aside else ""),
        score=0.4 if unsure else min(0.9, 0.5 + 0.02 * len(boundaries)),
        evidence=tuple(evidence), against=tuple(against), advice=advice,
        confirm="Train with another seed: the boundaries that stand out will be others.",
    )  # fmt: skip


def _by_chance(boundaries: Sequence[Boundary], outside: int) -> str:
    """Where some lie outside of a band that leaves 1 in 20 out: how many of noise do, around so few cuts."""
    if not outside:
        return ""
    most, _ = outside_by_chance(boundaries)
    lie = "lies" if outside == 1 else "lie"
    return f"; {outside:,} {lie} outside, where noise around so few cuts puts {max(1, round(most))} or so"


def is_one_way(pooled: Pooled, *, least: int = 5, level: float = 0.05) -> bool:
    """True if the boundaries, `least` or more, all go one way, or the test over them is below `level`."""
    return (min(pooled.up, pooled.down) == 0 and pooled.up + pooled.down >= least) or pooled.p < level


def _median(values: list[float]) -> float:
    return median(np.array(values, dtype=np.float64))
