"""The loss moves at the boundaries no more than at any other cut of the same epochs.

What it sees:
    Jumps of both signs whose size is that of the placebos: other batches, other loss.

Why it matters:
    A new order at each epoch brings other samples into the next batches, but on average no harder ones. Seen once it
    looks like an effect. It is the most frequent cause of a question, and there is nothing to fix.

How it decides:
    No boundary is significant alone, and the rank test over all of them finds no direction at two window sizes. It says
    how many batches a side would resolve a jump of a tenth of the loss.

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

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, p_value, percent, plural

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
            if pooled.direction
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
    boundaries = [b for b in context.boundaries if math.isfinite(b.z)]
    size = _median([abs(b.jump) for b in boundaries])
    band = _median([(b.placebo_high - b.placebo_low) / 2 for b in boundaries])
    level = _median([b.before for b in boundaries])
    m = boundaries[0].m
    evidence = [
        Evidence(
            f"median |jump| {number(size)}, while {percent(0.95)} of cuts inside the epochs lie within ±{number(band)}", "loss"
        ),
        Evidence(f"{pooled.up} up, {pooled.down} down ({p_value(pooled.p)})"),
    ]
    advice = "Nothing to fix. Read the trend through a smoothed curve, or use a larger batch."
    if level > 0 and band > 0:
        needed = max(1, math.ceil(m * (band / (resolve * level)) ** 2))
        if needed > m:
            advice += f" To see a change of {percent(resolve)} of the loss, average {plural(needed, 'batch')} a side."
        else:
            advice += f" A jump of {percent(resolve)} of the loss would have been seen with {plural(m, 'batch')} a side."
    return Finding(
        ID, "benign", "likely", "Noise from batch to batch",
        f"The jumps at {plural(len(boundaries), 'boundary')} (median size {number(size)}) are within what any cut "
        f"of the same epochs shows (±{number(band)}).",
        score=min(0.9, 0.5 + 0.02 * len(boundaries)), evidence=tuple(evidence), advice=advice,
        confirm="Train with another seed: the boundaries that stand out will be others.",
    )  # fmt: skip


def _median(values: list[float]) -> float:
    return median(np.array(values, dtype=np.float64))
