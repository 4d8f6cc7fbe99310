"""What became of the run after the learning rate rose, and where the rises did nothing that can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.bad_rows import first_nonfinite
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.divergence import diverged, ends_after, never_recovers
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.lr_effect import places
from tb_losslens.analysis.lr_steps import LrStep
from tb_losslens.analysis.stats import finite
from tb_losslens.analysis.text import number, plural, signed


@dataclass(frozen=True)
class Harm:
    """The end of a run that did not get over a rise of the LR: for its sentence, and as evidence."""

    words: str
    evidence: Evidence


def harm_after(context: Context, steps: Sequence[LrStep]) -> Harm | None:
    """What the first or the last of `steps` did for good; None if the loss came back, or nothing is left to see it."""
    run = context.run
    first, last = steps[0].row, steps[-1].row
    broken = first_nonfinite(run)
    rows = [s.row for s in steps]
    if broken is not None and broken.lasting and ends_after(context, rows, broken.row):
        step, after = int(run.step[broken.row]), broken.row - max(row for row in rows if row <= broken.row)
        said = f"the loss is NaN or infinite from step {step:,} on, {plural(after, 'batch')} after the LR rose: its consequence"
        return Harm(f" and is not finite from step {step:,} on", Evidence(said, "loss", (broken.row, len(run))))
    end = never_recovers(context, last)
    if end is None:
        gone = diverged(run)
        end = gone.after if gone is not None and gone.row >= first else None
    if end is None or not math.isfinite(end):
        return None
    before = float(np.median(finite(run.loss[max(0, first - 20) : first])))
    said = f"the run ends with a loss of {number(end)}, where it had {number(before)} before the LR rose"
    return Harm(" and does not come back", Evidence(said, "loss", (max(0, first - 20), len(run))))


def within_noise(context: Context, steps: Sequence[LrStep], acting: Sequence[LrStep]) -> list[Evidence]:
    """What the loss does at the other rises, in its own numbers: not being told from noise is not standing still."""
    others = [s for s in steps if s not in acting]
    if not others:
        return []
    at = [context.boundaries[s.boundary].jump for s in others if s.boundary is not None]
    known = [jump for jump in at if math.isfinite(jump)]
    if not known:
        return [Evidence(f"at {places(context, others)} the LR rises as well, with no rise of the loss beyond noise", "loss")]
    low, high = signed(min(known)), signed(max(known))
    moved = low if low == high else f"{low} to {high}"
    return [
        Evidence(f"at {places(context, others)} the LR rises as well; the loss moves by {moved} there, within noise", "loss")
    ]


def count_of(context: Context, steps: Sequence[LrStep]) -> str:
    """The count, as at 6 of 6 boundaries, where all of them lie at boundaries, else where they are."""
    at = {s.boundary for s in steps}
    if None in at or len(at) < len(steps):
        return f"at {places(context, steps)}"
    return f"at {len(at):,} of {plural(len(context.boundaries), 'boundary')}"
