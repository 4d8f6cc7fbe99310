"""What is said of a rise of the loss inside an epoch: by its settings, its inputs, or that nothing explains it."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.change_at import change_at
from tb_losslens.analysis.changes import planned_at
from tb_losslens.analysis.content import known_shares
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.input_step import input_step
from tb_losslens.analysis.inside import (
    INPUTS,
    OTHERS,
    comes_back,
    open_shifts,
    place_of,
    rise_in_words,
    settings_within,
    signals_there,
    size_of,
    step_of,
)
from tb_losslens.analysis.regularization import kind_of, setting_code, value_of
from tb_losslens.analysis.restarts import in_words, restarts
from tb_losslens.analysis.shifts import Shift
from tb_losslens.analysis.text import lower_first, number, some
from tb_losslens.analysis.unexplained import missing_lines

_MOST = 3
_NEAR = 5
_WORDS = {"dropout": "dropout", "weight_decay": "weight decay"}


def raised_inside(context: Context, cause: str) -> list[Finding]:
    """Dropout or weight decay that was raised in the epoch of a rise, and nothing else with it."""
    out = []
    for shift in open_shifts(context):
        changes = settings_within(context, shift)
        kinds = {kind_of(key) for key in changes}
        kind = next(iter(kinds)) if len(kinds) == 1 else ""
        pairs = [(value_of(old), value_of(new)) for old, new in changes.values()]
        if not kind or not all(new > old for old, new in pairs) or planned_at(context.run, shift.row) is not None:
            continue
        old, new = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
        what, step = _WORDS[kind], step_of(context, shift)
        values = f"{number(old)} -> {number(new)}"
        seen = f"{what} {values} within the same epoch, as its end shows: {some(list(changes), 3)}"
        found = Finding(
            cause, "fault", "likely", f"{what.capitalize()} raised inside an epoch",
            f"{what.capitalize()} goes from {number(old)} to {number(new)} in the epoch of step {step:,}, and there "
            f"{rise_in_words(shift)}.",
            detail=f"{kind}_changed", score=0.7, steps=(step,), evidence=(Evidence(seen), size_of(shift)),
            against=(Evidence("the batch at which it was raised is not recorded; the loss rises once in that epoch"),),
            advice=f"Leave {what} at {number(old)}, or raise it step by step over some epochs. Where it was meant, note it.",
            fix=setting_code(kind, old, f"it became {number(new)} near step {step:,}"),
            confirm=f"Train that epoch again with {what} at {number(old)}: the loss goes on as before.",
        )  # fmt: skip
        out.append(found)
    return out


def inputs_inside(context: Context, cause: str) -> list[Finding]:
    """Mean or spread of the inputs takes a step where the loss rises, and keeps it: a span of other inputs is `bad_batch`."""
    out = []
    around = max([len(epoch) for epoch in context.epochs], default=len(context.run) // 4)
    for shift in open_shifts(context)[:_MOST]:
        there = signals_there(context.run, shift, INPUTS)
        moved = {name: said for name, said in there.items() if not comes_back(context.run, name, shift)}
        step_there = input_step(context.run, max(0, shift.row - around), min(len(context.run), shift.row + around))
        if not moved or step_there is None or abs(step_there[0] - shift.row) > _NEAR:
            continue
        step = step_of(context, shift)
        planned = planned_at(context.run, shift.row) is not None
        beside = signals_there(context.run, shift, OTHERS)
        found = Finding(
            cause, "planned" if planned else "fault", "likely", "Inputs changed inside an epoch",
            f"At {place_of(context.run, step, ',')} the inputs are others than before, and {rise_in_words(shift)}.",
            score=0.75, steps=(step,),
            evidence=(*(Evidence(_short(said), name, _span(shift)) for name, said in moved.items()), size_of(shift)),
            against=tuple(Evidence(_short(said), name, _span(shift)) for name, said in beside.items()),
            advice="Look at what the loop and the data set do to a batch from that step on: a transform, a scale, another "
            "source. If it is meant, note it.",
            fix=f'writer.note("inputs changed", kind="config_change")     # right before step {step}, if it is meant',
            confirm=f"Run the batch of step {step:,} through the preprocessing of the steps before: the loss must be back.",
        )  # fmt: skip
        out.append(found)
    return out


def changes_inside(context: Context, cause: str) -> list[Finding]:
    """Other settings that were changed in the epoch of a rise, or a note of the user at it."""
    out = []
    for shift in open_shifts(context)[:_MOST]:
        changes = settings_within(context, shift)
        note = planned_at(context.run, shift.row, reach=2)
        if not changes and note is None:
            continue
        step = step_of(context, shift)
        lines = [f"{key} {_shown(old)} -> {_shown(new)}" for key, (old, new) in changes.items()]
        lines += [f'"{note.text}"'] if note is not None else []
        where = "at that step" if note is not None else "within the same epoch, as its end shows"
        found = Finding(
            cause, "planned", "likely" if note is not None else "possible", "A change inside an epoch",
            f"At step {step:,} {rise_in_words(shift)}; there is a change {where} ({some(lines, 3)}).",
            detail="set" if len(lines) > 1 else "single", score=0.6, steps=(step,),
            evidence=(Evidence(f"{where}: {some(lines, 6)}"), size_of(shift)),
            advice="Expected where the change was meant; levels before and after it are not comparable. If it was not meant, "
            "undo it.",
            fix=f'writer.note("what was changed, and why", kind="config_change")     # right before step {step}',
            confirm=f"Evaluate one fixed batch right before and after step {step:,}, with and without the change.",
        )  # fmt: skip
        out.append(found)
    return out


def unexplained_inside(context: Context) -> list[Finding]:
    """The rises that nothing explains: where samples are not mixed, not those at which other samples begin."""
    out = []
    for shift in [one for one in open_shifts(context) if not _other_samples_begin(context, one)][:_MOST]:
        step = step_of(context, shift)
        there = signals_there(context.run, shift, (*INPUTS, *OTHERS))
        begun = [in_words(context.run, one) for one in restarts(context.run) if abs(one.row - shift.row) <= 1]
        found = Finding(
            "unknown", "unknown", "possible", f"The loss rises at {place_of(context.run, step)}",
            f"At {place_of(context.run, step, ',')} {rise_in_words(shift)}. Nothing that was recorded explains it.",
            detail="step_up" if shift.back is None else "transient", score=0.55, steps=(step,), explains_jump=False,
            evidence=(
                size_of(shift),
                *(Evidence(said, "step", _span(shift)) for said in begun),
                *(Evidence(said, name, _span(shift)) for name, said in there.items()),
            ),
            missing=missing_lines(context),
            advice=f"Look at what the code does at step {step:,}: the batch, its targets, weights or settings that are changed "
            "within an epoch.",
            confirm=f"Run the batches from step {step:,} on again with weights from before it: high at once means their "
            "samples or targets; high only after some steps means that the steps did it.",
        )  # fmt: skip
        out.append(found)
    return out


def _other_samples_begin(context: Context, shift: Shift, *, least: float = 0.5) -> bool:
    """True if the samples come in an order, and half of the class mix, or the mean target, changes right there."""
    run = context.run
    if context.found("incomplete_shuffle") is None:
        return False
    if not run.has("classes"):
        return bool(change_at(run, "target_mean", shift.row, shift.m))
    shares, first, last = known_shares(run), max(0, shift.row - shift.m), shift.row + shift.m
    sides = [side[np.isfinite(side).all(axis=1)] for side in (shares[first : shift.row], shares[shift.row : last])]
    return all(map(len, sides)) and float(np.abs(sides[0].mean(axis=0) - sides[1].mean(axis=0)).sum()) / 2 >= least


def _span(shift: Shift) -> tuple[int, int]:
    return max(0, shift.row - shift.m), shift.row + shift.m


def _short(said: str) -> str:
    return lower_first(said.split(";", maxsplit=1)[0])


def _shown(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
