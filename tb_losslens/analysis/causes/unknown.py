"""A jump is more than noise, and nothing that was recorded explains it.

What it sees:
    Significant boundaries that no finding before it accounts for; inside an epoch, batches whose loss stands apart from
    all others, and the point where the loss stops being a number.

Why it matters:
    Many public threads on such curves were settled by a guess, and wrongly. Saying what is missing is worth more.

How it decides:
    Last of all causes: a boundary that is significant alone, or part of a pooled direction, and in the boundaries of no
    finding that explains its jump; or a loss 10 sigma above and twice those around it, with a gap to all others that the
    tail of the others does not lead one to expect, or for more than ten batches in a row; or a loss that is not
    finite, or ends far above where it began. It lists the signals that would separate the causes which are left, with the line
    of code for each. Where the probe looked, it says by experiment on which side the jump is: the state of the model, the first
    updates, or the data and the logger.

What to try:
    Record what is missing, and train a few epochs again.

When it is wrong:
    As often as the measurement; `python -m demo.healthy` counts its alarms on healthy trainings.

References:
    Fisher, The Design of Experiments, 1935: an absence of evidence settles nothing; design the next observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tb_losslens.analysis.change_at import change_at
from tb_losslens.analysis.changes import other_objects, restored_at
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Boundary, Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.inside_report import unexplained_inside
from tb_losslens.analysis.known import mostly_known
from tb_losslens.analysis.probe_family import advice, family
from tb_losslens.analysis.recordable import lines_there
from tb_losslens.analysis.restarts import in_words, restarts
from tb_losslens.analysis.surges import surges
from tb_losslens.analysis.text import number, plural, signed, some, up_and_down
from tb_losslens.analysis.unexplained import ends_high, lost, spikes, too_few
from tb_losslens.events.columns import BY_NAME, how_to_record
from tb_losslens.store.run import Run, RunEvent

ID = "unknown"
REQUIRES: tuple[str, ...] = ("loss",)
TELLING = ("lr", "train_mode", "sample_ids", "grad_norm", "input_mean", "classes", "batch_size")
_LOOKED_AT = {"input_mean": "mean and spread of the inputs"}
"""What a signal stands for where more was looked at than its name says, or less than one may think."""

_SHORT = "epochs are so short that the recorder reads these states only now and then"
_LATE = "that an epoch begins was told after its first forward; call `writer.start_epoch(epoch)` before it"
_RECORD = "Record what is missing and train a few epochs again."
_CONFIRM = (
    "Evaluate one fixed batch just before and after such a boundary: if its loss is unchanged, look at the data or the logger; "
    "if it changed, at the state. `writer.set_probe()` does that at each."
)
_LOADED = "`load_state_dict` was called there, on the model or the optimiser"


def find(context: Context) -> Outcome | list[Outcome]:
    """Names what nothing explains, at boundaries and inside epochs, and what to record."""
    end = lost(context) or ends_high(context)
    rises = surges(context)
    rises += unexplained_inside(replace(context, earlier=(*context.earlier, *rises)))
    inside: list[Outcome] = [*([end] if end else []), *rises, *spikes(replace(context, earlier=(*context.earlier, *rises)))]
    at_boundaries = _boundaries(context)
    if not inside:
        return at_boundaries
    return [at_boundaries, *inside] if isinstance(at_boundaries, Finding) else inside


def _boundaries(context: Context) -> Outcome:
    pooled = context.pooled
    if pooled.reason:
        return Skipped(ID, pooled.reason, "")
    explained = {k for o in context.earlier if isinstance(o, Finding) and o.explains_jump for k in o.boundaries}
    moved = [
        b
        for b in context.boundaries
        if b.significant or (pooled.direction and (b.jump - b.placebo_median) * pooled.direction > 0)
    ]
    left = [b for b in moved if b.index not in explained]
    alone = [b for b in left if b.significant]
    if not moved and not explained and context.found("batch_noise") is None and context.found("incomplete_shuffle") is None:
        unsure = too_few(context)
        if unsure is not None:
            return unsure
    if not alone and (not pooled.direction or 2 * len(left) < len(moved)):
        return Checked(ID, "every jump beyond noise is explained" if moved else "no jump beyond noise is left to explain")
    run = context.run
    there = lines_there(run)
    missing = [name for name in TELLING if not run.has(name) and how_to_record(name) not in there]
    most = max(left, key=lambda b: abs(b.z))
    span = (max(0, most.batch - most.m), most.batch + most.m)
    sides = ((span[0], most.batch), (most.batch, span[1]))  # what was read on one side only tells of no change
    ordered = context.found("incomplete_shuffle") is not None or context.found("repeated_order") is not None
    read = [name for name in TELLING if all(mostly_known(run, name, *side) for side in sides)]
    changed = {name: said for name in read if (said := change_at(run, name, most.batch, most.m))}
    open_still = {*changed, *(("sample_ids", "classes") if ordered else ())}
    known = [_LOOKED_AT.get(name, BY_NAME[name].label) for name in read if name not in open_still]
    if len(left) == 1:
        shape = most.shape.replace("_", " ") if most.shape != "none" else "step"
        back = f", back after {plural(most.recovery, 'batch')}" if most.recovery is not None else ""
        what = f"The loss makes a {shape} of {signed(most.jump)} at boundary {most.index + 1} (step {most.step:,}){back}"
    else:
        what = f"The loss moves by up to {signed(most.jump)} at boundaries {some([b.index + 1 for b in left])}"
    again = f"Run the batches around step {most.step:,} again with the same weights, in this order and in another."
    size = number(abs(most.z), 2)
    others = other_objects(run, context.epochs, left)
    side = family(run, left)
    return Finding(
        ID, "unknown", "possible", "Nothing recorded explains it",
        f"{what}, and none of the causes that could be tested explains it."
        + "".join(f" {other.capitalize()}." for other in others)
        + (f" {side.said}." if side is not None else ""),
        detail=most.shape, boundaries=tuple(b.index for b in left), steps=tuple(b.step for b in left[:20]),
        explains_jump=False,
        evidence=(
            Evidence(f"largest: {signed(most.jump)} at boundary {most.index + 1}, {size}× the noise beside it", "loss", span),
            Evidence(up_and_down(pooled, repeated=context.found("repeated_order") is not None)),
            *([] if side is None else [side.evidence]),
            *([] if changed and not known else [Evidence(_looked_at(known))]),
            *(Evidence(said, name, span) for name, said in changed.items()),
            *([] if restored_at(run, most.batch, reach=0) is None else [Evidence(_LOADED)]),
            *others,
            *_unread(run, left),
            *(Evidence(in_words(run, one), "step", span) for one in restarts(run) if one.row == most.batch),
        ),
        missing=tuple(dict.fromkeys(how_to_record(name) for name in missing)),
        advice=advice(side.side) if side is not None else _RECORD if missing else again,
        confirm=again if side is not None else _CONFIRM,
    )  # fmt: skip


def _unread(run: Run, left: Sequence[Boundary]) -> list[Evidence]:
    """That the states at these boundaries were not read, and why."""
    late = {e.batch: e.fields.get("late") is True for e in run.events if e.kind == "epoch_begin" and not _was_read(e)}
    out = []
    for told, why in ((False, _SHORT), (True, _LATE)):
        at = [b.index + 1 for b in left if late.get(b.batch) is told]
        where = f"at boundar{'y' if len(at) == 1 else 'ies'} {some(at)}"
        if at:
            out.append(Evidence(f"whether weights, optimiser or random generators changed {where} is not known: {why}"))
    return out


def _was_read(begin: RunEvent) -> bool:
    return begin.fields.get("states_read") is not False


def _looked_at(known: list[str]) -> str:
    return f"looked at, and no cause in it: {some(known, 8)}" if known else "nothing but the loss was recorded"
