"""Boundaries at which the weights change although no optimiser steps: an equality of checksums that does not hold."""

from __future__ import annotations

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import around, clear_where_named, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.text import plural, signed, some
from tb_losslens.store.run import Run, RunEvent

QUIET = frozenset({"epoch_begin", "epoch_end", "validation_begin", "validation_end", "save"})
"""Kinds of events that do not say that somebody changes the weights."""


def changed_between(run: Run) -> tuple[list[int], int]:
    """(rows that begin an epoch with other weights than the one before ended with, boundaries compared).

    A boundary is compared where the checksums of the same parameters are known at both ends, the optimisers count equally
    many steps at both, and no event in between says that weights were restored, a model replaced or a change made.
    """
    late = {
        (item.get("at"), item.get("epoch")): item.get("parameters")
        for event in run.events
        for item in event.fields.get("late_checksums") or ()
        if isinstance(item, dict)
    }
    rows, compared = [], 0
    end: RunEvent | None = None
    for event in run.events:
        if event.kind == "epoch_end":
            end = event
        elif event.kind not in QUIET:
            end = None
        elif event.kind == "epoch_begin" and end is not None:
            ends = [e.fields.get("parameters") or late.get((e.kind, e.fields.get("epoch"))) for e in (end, event)]
            if all(isinstance(value, str) for value in ends) and end.batch == event.batch and _same_steps(end, event):
                compared += 1
                if ends[0] != ends[1]:
                    rows.append(event.batch)
            end = None
    return rows, compared


def _same_steps(end: RunEvent, begin: RunEvent) -> bool:
    """True if all optimisers count as many steps at both ends, and the same tensors were left out of the checksums."""
    states = [e.fields.get("optimizer_state") for e in (end, begin)]
    steps = [[one.get("step") if isinstance(one, dict) else None for one in state or ()] for state in states]
    known = bool(steps[0]) and all(step is not None for step in steps[0])
    left_out = [e.fields.get("checksum_skipped") for e in (end, begin)]
    return known and steps[0] == steps[1] and left_out[0] == left_out[1]


def weights_changed(context: Context) -> Finding | None:
    """The finding, None where no weights change between epochs.

    A fault where the loss moves there. Else, or where it happens at every boundary, as averaging or pruning does on purpose, it
    is said and not judged.
    """
    run = context.run
    rows, compared = changed_between(run)
    first = {int(session.get("first_step", -1)) for session in run.sessions[1:]}
    at = tuple(b.index for b in context.boundaries if b.batch in rows and b.step not in first)
    if not at:
        return None
    every = compared > 2 and len(at) == compared
    named = [k for k in at if any(clear_where_named(context, k, sign, tests=2 * len(at)) for sign in (1, -1))]
    moved = not every and (bool(named) or jumps(context, at))
    where = f"boundar{'y' if len(at) == 1 else 'ies'} {some([k + 1 for k in at])}"
    evidence = [
        Evidence(
            f"the checksum of all parameters differs between the end of an epoch and the begin of the next at {where}, and is "
            f"equal at {compared - len(at)} of {plural(compared, 'boundary')}; the optimiser took no step in between"
        )
    ]
    against: list[Evidence] = []
    level = signed(typical_excess(context.boundaries[k] for k in at))
    shown = around(context.boundaries[at[0]])
    if moved:
        evidence.append(Evidence(f"the loss moves there by {level}, beyond the trend beside it", "loss", shown))
    else:
        against.append(Evidence("whether the loss moves for it cannot be told: cuts inside the epochs move as well", "loss"))
    return Finding(
        "resume_discontinuity", "fault" if moved else "unknown", "proved", "The weights changed between epochs",
        f"At {where} the weights changed between two epochs, outside of a step of the optimiser.",
        detail="weights_changed", score=0.95 if moved else 0.6, boundaries=at,
        steps=tuple(context.boundaries[k].step for k in at[:50]),
        share=share_against_rest(context, at) if moved else None, explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against),
        advice="Look at what runs between the epochs: callbacks, averaged weights that are not swapped back, a checkpoint, "
        "code after the validation. If it is meant, note it.",
        fix='writer.note("weights averaged", kind="config_change")     # only if it is meant',
        confirm="Sum the parameters at the end of an epoch and at the begin of the next: the sums must be equal.",
    )  # fmt: skip
