"""What is said of weights that change between two epochs: by other code, or because a state was loaded into the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import around, clear_where_named, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.probe_looks import moves
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import plural, signed, some
from tb_losslens.analysis.weight_records import place
from tb_losslens.analysis.weights_between import Change, changed_between


def weights_changed(context: Context) -> list[Finding]:
    """What other code changed and what was loaded between epochs, one finding each; empty where no weights change there."""
    changes, compared = changed_between(context.run)
    first = {session.get("first_step") for session in context.run.sessions[1:]}  # None of one without a batch
    swapped = context.found("weights_swapped")
    known = swapped.boundaries if swapped is not None else ()
    rows = {b.batch: b for b in context.boundaries if b.step not in first and b.index not in known}
    changes = [change for change in changes if change.row in rows]
    every = compared > 2 and len(changes) == compared
    loaded = [change for change in changes if "model" in change.loaded]
    others = [change for change in changes if "model" not in change.loaded]
    out = [_by_code(context, others, compared, every)] if others else []
    return out + ([_loaded(context, loaded, every)] if loaded else [])


def _moved(context: Context, at: tuple[int, ...], every: bool) -> bool:
    """True if the loss moves at boundaries `at`; what happens at `every` boundary cannot be told from the others."""
    named = [k for k in at if any(clear_where_named(context, k, sign, tests=2 * len(at)) for sign in (1, -1))]
    return not every and (bool(named) or jumps(context, at))


def _effect(context: Context, at: tuple[int, ...], moved: bool) -> tuple[list[Evidence], list[Evidence]]:
    """Evidence for and against an effect on the loss."""
    probed = moves(context.run, [context.boundaries[k].batch for k in at])
    tested = []
    if probed:
        by = signed(median(np.array(probed)))
        said = f"by experiment, the loss of the same training batch moves by {by} with them ({plural(len(probed), 'boundary')})"
        tested = [Evidence(said)]
    if not moved:
        return tested, [Evidence("whether the loss moves for it cannot be told: cuts inside the epochs move as well", "loss")]
    level = signed(typical_excess(context.boundaries[k] for k in at))
    said = f"the loss moves there by {level}, beyond the trend beside it"
    return [Evidence(said, "loss", around(context.boundaries[at[0]])), *tested], []


def _at(context: Context, changes: Sequence[Change]) -> tuple[tuple[int, ...], str]:
    """The boundaries of `changes`, as indices and in words."""
    rows = {change.row for change in changes}
    at = tuple(b.index for b in context.boundaries if b.batch in rows)
    return at, f"boundar{'y' if len(at) == 1 else 'ies'} {some([k + 1 for k in at])}"


def _equal_to(changes: Sequence[Change]) -> str:
    """Which earlier states the weights equal, in words; "" where none of them equals one."""
    known = [(change.row, change.equals) for change in changes if change.equals is not None]
    words = [f"those {place(e)}, {plural(row - e.batch, 'batch')} older" for row, e in known]
    return f"the weights of the new epoch equal exactly {some(list(dict.fromkeys(words)), 3)}" if words else ""


def _by_code(context: Context, changes: Sequence[Change], compared: int, every: bool) -> Finding:
    """Weights that code other than the optimiser and `load_state_dict` changed.

    A fault where the loss moves there. Else, or where it happens at every boundary, as averaging or pruning does on purpose, it
    is said and not judged.
    """
    at, where = _at(context, changes)
    moved = _moved(context, at, every)
    effect, against = _effect(context, at, moved)
    equal = _equal_to(changes)
    evidence = [
        Evidence(
            f"the checksum of all parameters differs between the end of an epoch and the begin of the next at {where}, and is "
            f"equal at {compared - len(at)} of {plural(compared, 'boundary')}; the optimiser took no step in between"
        ),
        *([Evidence(equal)] if equal else []),
        *effect,
    ]
    return Finding(
        "resume_discontinuity", "fault" if moved else "unknown", "proved", "The weights changed between epochs",
        f"At {where} the weights changed between two epochs, outside of a step of the optimiser.",
        detail="stale_weights" if all(change.equals for change in changes) else "weights_changed",
        score=0.95 if moved else 0.6, boundaries=at, steps=tuple(context.boundaries[k].step for k in at[:50]),
        share=share_against_rest(context, at) if moved else None, explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against),
        advice="Look at what runs between the epochs: callbacks, averaged weights that are not swapped back, a checkpoint, "
        "code after the validation. If it is meant, note it.",
        fix='writer.note("weights averaged", kind="config_change")     # only if it is meant',
        confirm="Sum the parameters at the end of an epoch and at the begin of the next: the sums must be equal.",
    )  # fmt: skip


def _loaded(context: Context, changes: Sequence[Change], every: bool) -> Finding:
    """A state that was loaded into the model in the middle of the training.

    Somebody called `load_state_dict`, hence it counts as planned: a rollback to the best weights is one.
    """
    at, where = _at(context, changes)
    moved = _moved(context, at, every)
    effect, against = _effect(context, at, moved)
    olds = [change.equals for change in changes if change.equals is not None]
    steps = context.boundaries[at[0]].step
    if len(olds) == len(changes):
        title, what = "Older weights were loaded", f"the weights {some(list(dict.fromkeys(place(e) for e in olds)), 3)}"
    else:
        title, what = "Other weights were loaded", "other weights than the epoch ended with"
    text = f"At {where} {what} were loaded into the model, and it trained on from them."
    said = _equal_to(changes) or "they equal no state that was recorded at an end of an epoch or a validation"
    kept = sum("optimizer" not in change.loaded for change in changes)
    evidence = [Evidence(f"`load_state_dict` was called on the model between two epochs at {where}; {said}"), *effect]
    if kept:
        there = "there" if kept == len(changes) else f"at {kept} of {len(changes):,} of them"
        evidence.append(Evidence(f"no state was loaded into the optimiser {there}: what it remembers is of the newer weights"))
    return Finding(
        "resume_discontinuity", "planned", "proved", title, text,
        detail="stale_weights" if len(olds) == len(changes) else "weights_changed",
        score=0.95 if moved else 0.6, boundaries=at, steps=tuple(context.boundaries[k].step for k in at[:50]),
        share=share_against_rest(context, at) if moved else None, explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against),
        advice="If a return to these weights is meant, nothing is wrong with it, and the state of the optimiser of that moment "
        "belongs to it. If not, look for the call of `load_state_dict` between the epochs.",
        fix=f'writer.note("older weights loaded", kind="config_change")     # at step {steps}, only if it is meant',
        confirm="Validate right after loading: the value must be the one from when these weights were new.",
    )  # fmt: skip
