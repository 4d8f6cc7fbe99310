"""Steps go back or repeat, so one curve is drawn over another.

What it sees:
    A step that is not larger than the one before it, as where a counter begins again at each epoch or is set back by
    hand. Also rows that a newer session in the same directory overtook: two writers in one directory, or a restart
    without `purge_step`.

Why it matters:
    TensorBoard's own charts join such points with lines across the whole picture. Smoothing then mixes two trainings,
    and what looks like a jump is a line between them.

How it decides:
    Exact: `step[i] <= step[i - 1]` for neighbouring rows, and the count of overtaken rows. Rows of an older session from
    the first step of a newer one on are left out, so what goes back among the rows that are left does so within one
    session: the counter that the training passes. LossLens measures by rows, in the order of training, so its own
    boundaries are right either way; hence this is said and never used as an explanation. Steps that repeat and never go
    back are how accumulation counts, and called benign.

What to try:
    A step that counts on over epochs; one directory for each run; `SummaryWriter(..., purge_step=step)` on a restart.

When it is wrong:
    It is an identity and has no false alarms on steps that are right. A jump at a restart that is really in the
    training is `resume_discontinuity`.

References:
    TensorBoard README, "My data shows overlapping lines" (frequently asked questions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.boundaries_of_plain import facts_of
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding
from tb_losslens.analysis.scalar_curves import scalar_findings
from tb_losslens.analysis.text import plural, some
from tb_losslens.store.run import Run

ID = "log_overlap"
REQUIRES: tuple[str, ...] = ()

_OWN_DIRECTORY = """\
import os
import time

name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"     # of this run and this process alone
writer = LossLensWriter(os.path.join(log_dir, name))"""
_ORDER = "Batches are shown in the order in which they were logged."


def find(context: Context, *, at_boundaries: float = 0.8) -> list[Outcome]:
    """Decides whether steps repeat or go back, and whether sessions overlap, each for itself.

    Args:
        context: the run and its measurement.
        at_boundaries: the part of boundaries where steps go back that makes it a counter of each epoch.
    """
    run = context.run
    change = np.diff(run.step)
    back, repeated = np.flatnonzero(change < 0) + 1, np.flatnonzero(change == 0) + 1
    out: list[Outcome] = []
    if run.superseded and not _purged(run):
        out.append(_sessions(run))
    if len(back):
        out.append(_counter(context, back, at_boundaries))
    elif len(repeated):
        out.append(_shared(run, repeated))
    out += scalar_findings(run, again=bool(len(back)))
    return out or [Checked(ID, _fine(run))]


def _fine(run: Run) -> str:
    if run.superseded:
        rows = plural(run.superseded, "row")
        return f"{rows} from step {run.facts['purge_step']:,} on were purged by a resumed writer, as asked"
    last = f" from {int(run.step[0]):,} to {int(run.step[-1]):,}" if len(run) else ""
    if run.facts.get("loss_source") == "criterion":
        # a step of the user's that lies behind the count is left out there, so that these steps cannot go back
        return f"the steps of the batches rise throughout{last}, counted by LossLens, as the criterion gives the loss"
    return f"steps rise throughout{last}; one recording"


def _purged(run: Run) -> bool:
    """True if the newest session asked for the rows that it overtook to be dropped."""
    purged = run.facts.get("purge_step")
    newest = run.sessions[-1].get("first_step") if run.sessions else None
    return isinstance(purged, int) and isinstance(newest, int) and purged <= newest


def _counter(context: Context, back: NDArray[np.int64], at_boundaries: float) -> Finding:
    """Steps that go back among the rows of one session."""
    step = context.run.step
    cut = [b.index for b in context.boundaries if b.batch in set(back.tolist())]
    starts = {b.batch for b in context.boundaries}
    restarts = bool(starts) and len(cut) >= at_boundaries * len(starts) and set(back.tolist()) <= starts
    row = int(back[0])
    went = f"from {int(step[row - 1]):,} to {int(step[row]):,} at batch {row:,}"
    if restarts:
        title = "The step counter restarts each epoch"
        where = f"{len(cut):,} of {plural(len(starts), 'boundary')}"
        text = f"The step goes back at {where}, first {went}: it counts batches of the epoch."
    else:
        title = "The step goes back"
        more = f" and at {plural(len(back) - 1, 'other batch')}" if len(back) > 1 else ""
        text = f"The step goes {went}{more}, within one recording."
    return Finding(
        ID, "artifact", "proved", title,
        f"{text} {_ORDER} The standard charts draw a line back and forth.",
        detail="restarting_counter" if restarts else "counter", score=1.0, boundaries=tuple(cut) if restarts else (),
        steps=tuple(int(step[r]) for r in back[:20]), explains_jump=False,
        evidence=(_evidence(step, back, "go back to"),),
        advice="Pass a step that rises over the whole run, as a count of all batches so far.",
        fix=_rising(context.run),
        confirm="Look at the x axis of the standard Scalars tab: it must end at the last of all batches.",
    )  # fmt: skip


def _shared(run: Run, repeated: NDArray[np.int64]) -> Finding:
    """Steps that repeat and never go back."""
    step = run.step
    return Finding(
        ID, "benign", "proved", "Several batches share a step",
        f"The step repeats {plural(len(repeated), 'time')} and never goes back: several batches have one step, as under "
        f"accumulation of gradients. {_ORDER}",
        detail="shared", score=0.5, steps=tuple(int(step[r]) for r in repeated[:20]), explains_jump=False,
        evidence=(_evidence(step, repeated, "repeat at"),),
        advice="Nothing to fix if a step is one update by several batches. Else pass a step that rises with each batch.",
    )  # fmt: skip


def _sessions(run: Run) -> Finding:
    """Rows that a newer session of the same directory wrote again."""
    newest = run.sessions[-1].get("first_step") if run.sessions else None
    first = newest if isinstance(newest, int) else None
    since = "" if first is None else f" The newest one begins at step {first:,}."
    # a session that begins where an older one began resumes nothing: to purge would only drop the older run
    begun = [s["first_step"] for s in run.sessions[:-1] if isinstance(s.get("first_step"), int)]
    anew = first is not None and bool(begun) and first <= min(begun)
    return Finding(
        ID, "artifact", "proved", "Two logs overlap",
        f"Two recordings overlap: {plural(max(len(run.sessions), 2), 'session')} wrote into this directory.{since} The "
        "standard charts draw a line back and forth between them.",
        detail="sessions", score=1.0, steps=() if first is None else (first,), explains_jump=False,
        evidence=(Evidence(f"{plural(run.superseded, 'row')} of an older session were overtaken by a newer one"),),
        advice="Give each run its own directory, and each process that writes." if anew
        else "When resuming, purge what the resumed run will write again; else give each run its own directory.",
        fix=_OWN_DIRECTORY if anew else "writer = LossLensWriter(log_dir, purge_step=first_step)",
        confirm="Open the directory alone in TensorBoard and look for a line that runs backwards.",
    )  # fmt: skip


def _rising(run: Run) -> str:
    """Code that counts batches over the whole run, for the call that the loss came from; it needs no length of a loader."""
    source = str(run.facts.get("loss_source", ""))
    if run.plain and not source:
        source = f"scalar:{next(iter(facts_of(run).get('back') or ()), 'Loss/train')}"
    tag = source.removeprefix("scalar:") if source.startswith("scalar:") else "Loss/train"
    call = (
        "writer.log_batch(loss, step=global_step)"
        if source == "log_batch"
        else f'writer.add_scalar("{tag}", loss.item(), global_step)'
    )
    return (
        "global_step = 0                    # once, before the epochs\n"
        "for epoch in range(epochs):        # as many as before\n    for x, y in train_loader:\n        ...\n"
        f"        {call}\n        global_step += 1"
    )


def _evidence(step: NDArray[np.int64], rows: NDArray[np.int64], what: str) -> Evidence:
    row = int(rows[0])
    places = some([int(step[r]) for r in rows], 4)
    said = f"after step {int(step[row - 1]):,} comes step {int(step[row]):,}; in all, steps {what} {places}"
    return Evidence(said, "step", (row - 1, row + 1))
