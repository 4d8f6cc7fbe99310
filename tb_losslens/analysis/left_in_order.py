"""Where sample ids come in part of the order of the data set: how much of it is left, and what the loss makes of it."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.displacement import Displacement
from tb_losslens.analysis.explain import jumps
from tb_losslens.analysis.finding import Evidence, Finding, Skipped
from tb_losslens.analysis.loader_repair import in_order, repair_shuffle
from tb_losslens.analysis.orders import loader_of
from tb_losslens.analysis.position import profile
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.events.columns import how_to_record


def about_ids(kept: list[Displacement]) -> tuple[list[Evidence], float]:
    """(sentences, size of the buffer or NaN) on what is left of the order of the data set."""
    if not kept:
        return [], math.nan
    rho, near = (median(np.array([getattr(d, name) for d in kept])) for name in ("correlation", "neighbours"))
    buffer = median(np.array([d.buffer for d in kept]))
    said = [Evidence(f"the rank correlation of sample id and position in the epoch is {number(rho, 2)}", "sample_ids")]
    if near >= 0.3:
        said.append(Evidence(f"{percent(near)} of neighbours in an epoch are neighbours in the data set", "sample_ids"))
    elif math.isfinite(buffer):
        of = f"of {plural(kept[-1].samples, 'sample')}"
        said.append(Evidence(f"samples are mixed within about {max(1, round(buffer)):,} {of}", "sample_ids"))
    return said, buffer if near < 0.3 else math.nan


def left_in_order(context: Context, kept: list[Displacement], *, flat: bool) -> Outcome:
    """What an order that is left says; where each epoch has the same one, or none is drawn, only if the loss follows it.

    That the order comes again is said by `repeated_order` already; why the loss jumps there may be what is in that order.
    A loader with `shuffle=False` leaves no order that it was to break: one pass over data that was mixed before is right.
    """
    again, loader = context.found("repeated_order"), loader_of(context.run)
    if again is None and not in_order(loader):
        return by_ids(context, kept, flat=flat)
    folded = None if again is not None and again.explains_jump else profile(context)
    if folded is not None and folded.explains() and jumps(context, [b.index for b in context.boundaries]):
        return by_ids(context, kept, flat=flat)
    rho = number(median(np.array([d.correlation for d in kept])), 2)
    order = (
        "each epoch has the same order of samples"
        if again is not None
        else "the loader does not shuffle: samples come in an order"
    )
    said = f"{order}, near that of the data set (rank correlation of id and position {rho})"
    return Skipped(
        "incomplete_shuffle", f"{said}: whether the data set is sorted by something that was not recorded is not known", ""
    )


def by_ids(context: Context, kept: list[Displacement], *, flat: bool) -> Finding:
    """The finding where ids alone show it; `flat` if classes or targets are known and do not depend on the position."""
    said, buffer = about_ids(kept)
    how, fix = repair_shuffle(context, buffer)
    at = tuple(b.index for b in context.boundaries)
    folded = profile(context)
    explains = folded is not None and folded.explains() and jumps(context, at)
    against = [Evidence("it does harm only if the data set itself is sorted by something")]
    if folded is not None and explains:
        said.append(folded.in_words())
        against = [Evidence("sorting on purpose (a curriculum) would look the same")]
    elif flat:
        against = [
            Evidence("class mix and targets do not depend on the position; whether difficulty does is not seen from them")
        ]
    if folded is not None and not explains:
        against.append(folded.in_words())
    return Finding(
        "incomplete_shuffle",
        "fault",
        "likely" if explains or not flat else "possible",
        "Position in the epoch predicts the loss" if explains else "Samples stay near their place in the data set",
        "The loss follows the order of the data set: what it does within each epoch, the boundary undoes."
        if explains
        else "Shuffling leaves part of the order of the data set in every epoch.",
        detail="ids",
        score=0.85 if explains else 0.3 if flat else 0.5,
        boundaries=at,
        steps=tuple(b.step for b in context.boundaries[:50]),
        share=folded.undone if folded is not None and explains else None,
        explains_jump=explains,
        evidence=tuple(said),
        against=tuple(against),
        missing=() if flat or explains else (how_to_record("classes"),),
        advice=how,
        fix=fix,
        confirm="Train one epoch with shuffle=True on a list of all samples and compare the jump.",
    )
