"""What the user's own scalars of the loss draw: steps that go back, and one tag that is written twice in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.text import number, plural
from tb_losslens.store.run import Run

ID = "log_overlap"


def scalar_findings(run: Run, *, again: bool, twice: float = 1.9) -> list[Finding]:
    """One finding for each scalar whose steps go back, or that is written about twice in every batch.

    Args:
        run: with the fact `scalar_steps`, which has an entry for each scalar of which a step did not rise.
        again: the steps of the batches go back as well, so that it is said already.
        twice: writes for each batch that make two; several batches of one step (accumulation) have one each.
    """
    known = run.facts.get("scalar_steps")
    if not isinstance(known, Mapping) or not len(run):
        return []
    out = []
    for tag, seen in known.items():
        if not isinstance(seen, Mapping):
            continue
        if _count(seen, "back") and not again:
            out.append(_goes_back(tag, seen))
        if _count(seen, "differ") and _count(seen, "written") >= twice * len(run):
            out.append(_written_twice(run, tag, seen))
    return out


def _count(seen: Mapping[str, Any], name: str) -> int:
    value = seen.get(name)
    return value if isinstance(value, int) else 0


def _goes_back(tag: str, seen: Mapping[str, Any]) -> Finding:
    times = plural(_count(seen, "back"), "time")
    went = f"first from {_count(seen, 'back_from'):,} to {_count(seen, 'back_to'):,}"
    return Finding(
        ID, "artifact", "proved", f"The step of `{tag}` goes back",
        f"The step that `{tag}` is written with goes back {times}, {went}. Here batches are counted by LossLens, in the order "
        "of training; the standard charts draw a line back and forth.",
        detail="scalar_counter", score=1.0, steps=(_count(seen, "back_to"),), explains_jump=False,
        evidence=(Evidence(f"of {plural(_count(seen, 'written'), 'write')} of `{tag}`, {times} the step goes back, {went}"),),
        advice="Pass a step that rises over the whole run, as a count of all batches so far.",
        fix=(
            "global_step = 0                    # once, before the epochs\n"
            "for epoch in range(epochs):        # as many as before\n    for x, y in train_loader:\n        ...\n"
            f'        writer.add_scalar("{tag}", loss.item(), global_step)\n        global_step += 1'
        ),
        confirm="Look at the x axis of the standard Scalars tab: it must end at the last of all batches.",
    )  # fmt: skip


def _written_twice(run: Run, tag: str, seen: Mapping[str, Any]) -> Finding:
    written, differ = _count(seen, "written"), _count(seen, "differ")
    rate = number(written / len(run), 2)
    return Finding(
        ID, "artifact", "proved", f"`{tag}` is written twice in a batch",
        f"`{tag}` is written {rate} times a batch, with another value at the same step: two curves are drawn as one.",
        detail="written_twice", score=1.0, steps=(_count(seen, "repeated_at"),), explains_jump=False,
        evidence=(
            Evidence(f"{written:,} writes of `{tag}` in {plural(len(run), 'batch')}; {differ:,} repeat a step with another"),
        ),
        advice="Give each of the two a tag of its own, as a callback that logs a running mean beside the loop often does not.",
        fix=f'writer.add_scalar("{tag}", loss.item(), step)\nwriter.add_scalar("{tag}_mean", mean, step)     # the other one',
        confirm="Zoom in on the standard chart: two points lie above each other at each step.",
    )  # fmt: skip
