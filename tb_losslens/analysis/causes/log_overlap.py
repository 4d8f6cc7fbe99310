"""Steps go back or repeat, so one curve is drawn over another.

What it sees:
    A step that is not larger than the one before it: two writers in one directory, a restart without `purge_step`, or
    a counter that begins again at each epoch. Also rows that a newer session in the same directory overtook.

Why it matters:
    TensorBoard's own charts join such points with lines across the whole picture. Smoothing then mixes two trainings,
    and what looks like a jump is a line between them.

How it decides:
    Exact: `step[i] <= step[i - 1]` for neighbouring rows, and the count of overtaken rows. Steps that go back at nearly
    every epoch boundary mean that the counter restarts with each epoch. LossLens measures by rows, in the order
    of training, so its own boundaries are right either way; hence this is said and never used as an explanation.

What to try:
    One directory for each run; `SummaryWriter(..., purge_step=step)` on a restart; a step that counts on over epochs.

When it is wrong:
    It is an identity and has no false alarms on steps that are right. A jump at a restart that is really in the
    training is `resume_discontinuity`.

References:
    TensorBoard README, "My data shows overlapping lines" (frequently asked questions).
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Checked, Evidence, Finding
from tb_losslens.analysis.text import plural, some

ID = "log_overlap"
REQUIRES: tuple[str, ...] = ()


def find(context: Context, *, at_boundaries: float = 0.8) -> Checked | Finding:
    """Decides whether steps repeat or go back; `at_boundaries` is the part of boundaries that makes it the counter."""
    run = context.run
    step = run.step
    back = np.flatnonzero(np.diff(step) <= 0) + 1
    if not len(back) and not run.superseded:
        last = f" from {int(step[0]):,} to {int(step[-1]):,}" if len(step) else ""
        return Checked(ID, f"steps rise throughout{last}; one writer")
    purged = run.facts.get("purge_step")
    newest = run.sessions[-1].get("first_step") if run.sessions else None
    if not len(back) and isinstance(purged, int) and isinstance(newest, int) and purged <= newest:
        return Checked(ID, f"{plural(run.superseded, 'row')} from step {purged:,} on were purged by a resumed writer, as asked")
    starts = {b.batch for b in context.boundaries}
    cut = [k for k, b in enumerate(context.boundaries) if b.batch in set(back.tolist())]
    restarts = bool(starts) and len(cut) >= at_boundaries * len(starts) and set(back.tolist()) <= starts
    if restarts:
        return Finding(
            ID, "artifact", "proved", "The step counter restarts each epoch",
            f"The step goes back at {len(cut)} of {plural(len(starts), 'boundary')}: it counts batches of the epoch, "
            "not of the run. The standard charts draw all epochs on top of each other.",
            detail="restarting_counter", score=1.0, boundaries=tuple(cut), steps=tuple(int(step[r]) for r in back[:20]),
            explains_jump=False,
            evidence=tuple(_evidence(step, back)),
            advice="Count steps on over epochs.",
            fix='global_step = epoch * len(train_loader) + index\nwriter.add_scalar("Loss/train", loss.item(), global_step)',
            confirm="Look at the x axis of the standard Scalars tab: it ends at the length of an epoch.",
        )  # fmt: skip
    evidence = _evidence(step, back)
    if run.superseded:
        evidence.append(Evidence(f"{plural(run.superseded, 'row')} of an older session were overtaken by a newer one"))
    where = f"The step repeats or goes back {plural(len(back), 'time')}" if len(back) else "Two recordings overlap"
    return Finding(
        ID, "artifact", "proved", "Two logs overlap",
        f"{where}: {plural(max(len(run.sessions), 1), 'session')} wrote into this directory. The standard charts draw a "
        "line back and forth between them.",
        detail="sessions", score=1.0, steps=tuple(int(step[r]) for r in back[:20]), explains_jump=False,
        evidence=tuple(evidence),
        advice="Give each run its own directory; when resuming, purge what the resumed run will write again.",
        fix="writer = LossLensWriter(log_dir, purge_step=first_step)",
        confirm="Open the directory alone in TensorBoard and look for a line that runs backwards.",
    )  # fmt: skip


def _evidence(
    step: np.ndarray[tuple[int], np.dtype[np.int64]], back: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> list[Evidence]:
    if not len(back):
        return []
    first = int(back[0])
    places = some([int(step[r]) for r in back], 4)
    return [
        Evidence(
            f"after step {int(step[first - 1]):,} comes step {int(step[first]):,}; in all, steps go back to {places}",
            "step",
            (first - 1, first + 1),
        )
    ]
