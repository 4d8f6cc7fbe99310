"""Whether the training goes on with the weights that it had before a validation: equalities of checksums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tb_losslens.analysis.bad_rows import first_nonfinite
from tb_losslens.analysis.weight_records import Recorded, optimizer_steps, recorded_weights
from tb_losslens.store.run import Run, RunEvent


@dataclass(frozen=True)
class Swap:
    """Weights that a validation left in the model.

    Attributes:
        row: the first row that was trained from them.
        before, after: checksums of the weights that the training had, and of those that it went on with.
        inside: they changed between the begin and the end of the validation; else the validation began with them already.
        loaded: `load_state_dict` was called on the model there.
        boundary: the row begins an epoch.
    """

    row: int
    before: str
    after: str
    inside: bool
    loaded: bool
    boundary: bool = True


@dataclass(frozen=True)
class Looked:
    """`swaps`, boundaries with a validation that were compared, and validations whose other weights were put back."""

    swaps: tuple[Swap, ...] = ()
    compared: int = 0
    put_back: int = 0


@dataclass
class _Between:
    """What was seen since the last end of an epoch."""

    end: RunEvent | None = None
    pairs: list[tuple[RunEvent, RunEvent]] = field(default_factory=list)
    loaded: bool = False
    other_model: bool = False


def looked_at(run: Run) -> Looked:
    """Compares the weights at the end of an epoch, at both ends of the validations after it, and at the next begin.

    Only where the same process goes on, the optimisers took no step in between, the same tensors are counted, no other model
    took the place of the one before, and the loss is still finite. Weights that equal those of an earlier end of an epoch are
    older ones that were loaded, and none of a validation. Inside an epoch the weights before a validation are not known: there
    only what changes between its own two ends counts.
    """
    recorded = recorded_weights(run)
    sums = {id(event): value for event, value in recorded}
    broken = first_nonfinite(run)
    stop = broken.row if broken is not None and broken.lasting else len(run)
    began = {session.get("first_step") for session in run.sessions[1:]}
    swaps: list[Swap] = []
    compared = put_back = 0
    seen, opened = _Between(), None
    for event in run.events:
        if event.batch > stop:
            break
        if event.kind == "epoch_end":
            seen = _Between(event)
        elif event.kind == "restore":
            seen.loaded |= event.fields.get("what") == "model"
        elif event.kind == "config_change":
            seen.other_model |= "model" in event.fields
        elif event.kind == "validation_begin":
            opened = event
        elif event.kind == "validation_end":
            if opened is not None and event.ends_validation:
                seen.pairs.append((opened, event))
                inner = _inside_epoch(run, sums, opened, event, loaded=seen.loaded) if seen.end is None else None
                swaps += [inner] if inner is not None else []
            opened = None
        elif event.kind == "epoch_begin":
            goes_on = event.batch < len(run) and int(run.step[event.batch]) not in began
            if seen.end is not None and seen.pairs and goes_on:
                known, swap, back = _at_boundary(recorded, sums, seen, event)
                compared, put_back = compared + known, put_back + back
                swaps += [swap] if swap is not None else []
            seen = _Between()
    return Looked(tuple(swaps), compared, put_back)


def _at_boundary(
    recorded: Sequence[Recorded], sums: Mapping[int, str], seen: _Between, begin: RunEvent
) -> tuple[bool, Swap | None, int]:
    """(compared, what the validation left or None, validations whose other weights were put back)."""
    end = seen.end
    before, now = sums.get(id(end)), sums.get(id(begin))
    if end is None or before is None or now is None or seen.other_model or not _no_step(end, begin):
        return False, None, 0
    pairs = [(sums.get(id(first)), sums.get(id(last))) for first, last in seen.pairs]
    if now == before:
        return True, None, sum(any(value not in (before, None) for value in pair) for pair in pairs)
    left = [(first, last) for first, last in pairs if last == now and first is not None]
    older = any(v == now and e.batch < begin.batch and e.kind.startswith("epoch") for e, v in recorded)
    if not left or older:
        return True, None, 0
    return True, Swap(begin.batch, before, now, left[-1][0] == before, seen.loaded), 0


def _inside_epoch(run: Run, sums: Mapping[int, str], first: RunEvent, last: RunEvent, *, loaded: bool) -> Swap | None:
    before, after = sums.get(id(first)), sums.get(id(last))
    same_row = first.batch == last.batch and 0 < last.batch < len(run)
    # one that nobody announced ends with the next step of the training, after what is put back
    if before is None or after is None or before == after or not same_row or last.fields.get("implicit"):
        return None
    return Swap(last.batch, before, after, inside=True, loaded=loaded, boundary=False)


def _no_step(end: RunEvent, begin: RunEvent) -> bool:
    """True if no optimiser stepped between two events: by their own counts, or else by those of steps outside of epochs."""
    if end.batch != begin.batch or end.fields.get("checksum_skipped") != begin.fields.get("checksum_skipped"):
        return False
    before, after = optimizer_steps(end), optimizer_steps(begin)
    if before and None not in before and before != after:
        return False
    return (end.fields.get("steps_outside") or 0) == (begin.fields.get("steps_outside") or 0)
