"""Why the boundaries of a plain log cannot be judged, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tb_losslens.analysis.text import plural
from tb_losslens.store.run import Run

WITH_LOSSLENS = (
    "`writer = LossLensWriter(log_dir)` in place of `SummaryWriter`, and `train_loader = writer.wrap(train_loader)`"
)
"""What turns the next training into a recorded one."""


def facts_of(run: Run) -> Mapping[str, Any]:
    """What a plain run was made of, see `store.plain.plain_run`; empty for a recorded one."""
    known = run.facts.get("plain")
    return known if isinstance(known, Mapping) else {}


def no_loss(run: Run) -> str:
    """Why a plain run has no loss, as a sentence; "" where it has one."""
    why = facts_of(run).get("no_loss")
    return f"Nothing can be said of the loss: {why}." if why else ""


def plain_refusal(run: Run, boundaries: int, length: int, *, least_batches: int, least_boundaries: int) -> str:
    """Why the boundaries of a plain run cannot be judged, as a sentence that says what to do; "" if they can.

    Args:
        run: with `plain` set.
        boundaries: how many it has.
        length: points of the usual epoch.
        least_batches: points that an epoch needs.
        least_boundaries: boundaries that the run needs.
    """
    facts = facts_of(run)
    tag = f"`{facts.get('tag')}`"
    without = no_loss(run)
    if without:
        return without
    if not run.has("loss"):
        return f"{tag} is NaN in each of its {plural(len(run), 'point')}."
    if not run.epochs and len(run) < 3 * least_batches:
        return (
            f"{tag} has {plural(len(run), 'point')}, as where it is written once an epoch: to see a jump at a boundary takes "
            f"{least_batches} in each epoch. Write it more often, or record every batch: {WITH_LOSSLENS}."
        )
    if not run.epochs:
        why = f" ({facts['no_epochs']})" if facts.get("no_epochs") else ""
        steps = f"give `--batches-per-epoch N`, counted in the steps of {tag}" if not _goes_back(run) else "log steps that rise"
        return f"It is unknown where epochs begin{why}: {steps}, or record the next training: {WITH_LOSSLENS}."
    if boundaries == 0:
        return f"The log has one epoch so far ({plural(len(run), 'point')} of {tag}): there is no boundary yet."
    if length < least_batches:
        return (
            f"An epoch has {plural(length, 'point')} of {tag}; below {least_batches} a jump cannot be told from noise. "
            f"Write the loss more often, or record every batch: {WITH_LOSSLENS}."
        )
    if boundaries < least_boundaries:
        named = f"{plural(len(run.epochs), 'epoch')}, so {plural(boundaries, 'boundary')}"
        return (
            f"The log names {named}; at least {least_boundaries} are needed to tell a pattern from chance. Train longer, or "
            f"record what happens there: {WITH_LOSSLENS}."
        )
    return ""


def _goes_back(run: Run) -> bool:
    step = run.step
    return bool((step[1:] < step[:-1]).any())
