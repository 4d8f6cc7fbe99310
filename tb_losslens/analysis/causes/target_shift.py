"""From an epoch on, or in one epoch only, the targets are others: other labels, another class mix, another source.

What it sees:
    Which samples came back with another target than in the epochs before; the sample set of each epoch and its classes; class
    mix, data source, mean and spread of floating targets of every batch that was read.

Why it matters:
    A network that learned one set of answers is graded by another: the loss jumps and needs as long to come back as the
    relearning takes. A label file of another version, a class map that is built anew, a shard that is used up, and a sampler
    that leaves classes out all look like this, and nobody looks at the labels.

How it decides:
    Proofs first. Samples whose target came back equal, pass after pass, and is another one in one pass, were relabelled in
    between; so were epochs that drew the same sample ids and counted other classes. Targets that are drawn anew in each
    epoch change each time and prove nothing, except where that begins or ends.
    Then whole epochs. The counts of classes or sources must differ by a twentieth of the samples, by more than a chi-square
    allows (p < 1e-6, for single draws made as uneven as the batches and blocks of one epoch are), far more than at other
    boundaries, and not inside either epoch; mean or spread of floating targets by many standard errors. Total and median over
    batches must both move: a span of bad batches moves the total only. `one_epoch` where the next boundary undoes it, `lasting`
    else. Planned where somebody noted it at this boundary. It explains the jump where the loss moves at the same boundary, or
    where the loss of whole epochs takes a step up there, unless the model was replaced.

What to try:
    One label file and one class map for the run, all shards mixed into each epoch, and a note where a change is meant.

When it is wrong:
    A curriculum that is not noted looks like this, unless it goes on in small steps, which is a drift and no shift. Pseudo-
    labels that are renewed more than three times are none. A span of batches with other targets is left to `bad_batch`. A shift
    in the last epoch may be that of one epoch. Another data source without an effect on the loss is called harmless.
    False-alarm rate: none for proofs; the p-value for the rest. Inputs that move with the mix are its consequence; other inputs
    of the same samples are `input_shift`.

References:
    Pearson's chi-square test of homogeneity. Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a
    priori probabilities, 2002 (label shift).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tb_losslens.analysis.changes import another_data_set, model_replaced, planned_at
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import around, excess, jumps, share_against_rest
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.held_out import held_out_rises
from tb_losslens.analysis.input_place import loss_levels, loss_rises, placed
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.noted import notes_at
from tb_losslens.analysis.relabelled_span import relabelled_spans
from tb_losslens.analysis.target_begin import begin_of
from tb_losslens.analysis.target_levels import TargetStep, target_steps
from tb_losslens.analysis.target_proof import LASTING, ONE_EPOCH, target_proofs
from tb_losslens.analysis.target_report import ADVICE, ADVICE_PLANNED, TITLES, quiet_targets, relabelled_somewhere, repair
from tb_losslens.analysis.text import signed, some
from tb_losslens.events.columns import how_to_record

ID = "target_shift"
REQUIRES: tuple[str, ...] = ("epoch",)


@dataclass(frozen=True)
class _Event:
    """Other targets from boundary `at` on; up to the next one only, under detail `one_epoch`."""

    at: int
    detail: str
    proofs: tuple[Proof, ...]
    steps: tuple[TargetStep, ...]

    @property
    def boundaries(self) -> tuple[int, ...]:
        return (self.at, self.at + 1) if self.detail == ONE_EPOCH else (self.at,)


def find(context: Context, *, least_mix: float = 0.05, least_level: float = 0.2, most_shifts: int = 3) -> list[Outcome]:
    """One finding for what lasts, one for single epochs, and one for what was planned of either.

    Args:
        context: the run and its measurement.
        least_mix: smallest part of the samples that is of another class or source.
        least_level: smallest move of the mean of floating targets in their spread, or of the spread as a part of itself.
        most_shifts: with more of them targets alternate, and none is for good.
    """
    run, epochs = context.run, context.epochs
    if len(epochs) < 2:
        return [Skipped(ID, "the run has one epoch so far; two are needed to compare their targets", "")]
    compared = any(epoch.fields.get("targets_compared") for epoch in epochs)
    if not compared and not any(run.has(name) for name in ("classes", "target_mean", "source")):
        return [Skipped(ID, "the targets were not recorded", how_to_record("classes"))]
    known = target_proofs(run, epochs, most=most_shifts)
    steps = target_steps(run, epochs, least_mix=least_mix, least_level=least_level)
    rises = loss_rises(loss_levels(context))
    by_boundary, open_ones = placed(context, known, [step.at for step in steps], rises)
    events = _events(by_boundary, steps)
    events = [event for event in events if event.proofs or not _is_last(context, event) or jumps(context, [event.at])]
    spans = relabelled_spans(run)
    elsewhere = [event for event in events if event.detail == ONE_EPOCH and event.proofs and event.at in spans]
    events = [event for event in events if event not in elsewhere]
    if elsewhere and not events and not open_ones:
        first, last, _ = spans[elsewhere[0].at]
        said = f"steps {int(run.step[first]):,} to {int(run.step[last]):,} came with other targets, which is a matter of these"
        return [Checked(ID, f"{said} batches (`bad_batch`) and not of the epoch")]
    if len(events) > most_shifts:
        return [Checked(ID, f"the targets change at {len(events):,} boundaries and never for good")]
    if not events and not open_ones:
        return [quiet_targets(run, epochs)]
    planned = {event.at for event in events if _noted(context, event)}
    out: list[Outcome] = []
    for detail in (LASTING, ONE_EPOCH):
        for is_planned in (False, True):
            group = [event for event in events if event.detail == detail and (event.at in planned) is is_planned]
            out += [_finding(context, group, rises, is_planned=is_planned)] if group else []
    return out + [relabelled_somewhere(context, proof) for proof in open_ones]


def _events(proofs: dict[int, list[Proof]], steps: Sequence[TargetStep]) -> list[_Event]:
    """What happens at each boundary, in order; the way back after a single epoch is part of that one."""
    out: list[_Event] = []
    for k in sorted({*proofs, *(step.at for step in steps)}):
        if out and out[-1].detail == ONE_EPOCH and k == out[-1].at + 1:
            continue
        own, here = tuple(proofs.get(k, ())), tuple(step for step in steps if step.at == k)
        once = any(proof.detail == ONE_EPOCH for proof in own) or (not own and all(step.back for step in here))
        out.append(_Event(k, ONE_EPOCH if once else LASTING, own, here))
    return out


def _is_last(context: Context, event: _Event) -> bool:
    return event.at == len(context.boundaries) - 1


def _noted(context: Context, event: _Event) -> str:
    """What somebody noted at one of its boundaries, "" where nothing singles it out: a note at each boundary does not."""
    notes = notes_at(context.run, context.boundaries)
    for k in event.boundaries:
        change = planned_at(context.run, context.boundaries[k].batch) if k < len(context.boundaries) else None
        if change is not None:
            return change.text or "config_change"
        if k in notes and 2 * len(notes) <= max(2, len(context.boundaries)):
            return notes[k]
    return ""


def _finding(context: Context, events: Sequence[_Event], rises: Sequence[int], *, is_planned: bool) -> Finding:
    run, first = context.run, events[0]
    boundary = context.boundaries[first.at]
    at = tuple(k for event in events for k in event.boundaries if k < len(context.boundaries))
    evidence = [said for event in events for said in _seen(context, event)]
    # a change inside an epoch shows in the next one as well, at the samples that came before it
    once = {event.at for event in events} <= {first.at, first.at + 1} and first.detail == LASTING
    inside = begin_of(run, context.epochs[first.at + 1]) if once else None
    evidence += inside.evidence if inside is not None else ()
    other_model = model_replaced(run, [context.boundaries[k] for k in at])
    starts = [event.at for event in events]
    lasting = [k for k in starts if k in rises]
    moves = (inside.moves if inside is not None else jumps(context, at) or bool(lasting)) and other_model is None
    against = []
    if other_model is not None:
        against.append(Evidence(f"{other_model}, which moves the loss by itself", "loss"))
    elif inside is None and moves:
        said = f"the loss moves by {signed(excess(boundary))} at boundary {first.at + 1}"
        evidence.append(Evidence(said, "loss", around(boundary)))
    elif not moves:
        said = f"the loss moves by {signed(excess(boundary))} there, no more than at other cuts"
        against.append(Evidence(said, "loss", around(boundary)))
    if first.detail == LASTING and _is_last(context, events[-1]):
        against.append(Evidence("no epoch after it has ended: whether it stays so is not known"))
    held_out = held_out_rises(run, boundary.batch) if first.detail == LASTING else None
    evidence += [held_out] if held_out else []
    if is_planned:
        evidence.append(Evidence(f"somebody noted the change: {_noted(context, first)}"))
    where = f"boundar{'y' if len(starts) == 1 else 'ies'} {some([k + 1 for k in starts])}"
    steps = tuple(context.boundaries[k].step for k in at)
    if inside is not None:
        where, at, steps = f"step {inside.step:,}, inside an epoch", (), (inside.step,)
    then = ", and stay so" if first.detail == LASTING else " for one epoch"
    proved = all(event.proofs for event in events)
    sources = not moves and all(not event.proofs and {step.signal for step in event.steps} == {"source"} for event in events)
    return Finding(
        ID,
        "planned" if is_planned else "benign" if sources else "fault",
        "proved" if proved else "likely",
        TITLES[first.detail][bool(first.proofs)],
        f"The targets change at {where}{then}: {evidence[0].split('; before,')[0]}.",
        detail=first.detail,
        score=(0.9 if moves else 0.7) + (0.05 if proved else 0.0),
        boundaries=at,
        steps=steps,
        share=share_against_rest(context, starts) if moves and inside is None else None,
        explains_jump=moves,
        evidence=tuple(evidence),
        against=tuple(against),
        advice=ADVICE_PLANNED if is_planned else ADVICE[bool(first.proofs)],
        fix="" if is_planned else repair(context, first.at, [step.signal for step in first.steps], step=steps[0]),
        confirm=f"Load the targets of one batch before and after step {steps[0]:,}: they must be equal.",
    )


def _seen(context: Context, event: _Event) -> list[Evidence]:
    """All that shows this event."""
    out = [proof.evidence for proof in event.proofs] + [step.evidence for step in event.steps]
    if event.detail == ONE_EPOCH and event.steps:
        out.append(Evidence("the epoch after it has the level of the one before it again"))
    proof = next((one for one in event.proofs if len(one.between) > 1), None)
    if proof is not None:
        first, last = proof.between[0] + 1, proof.between[-1] + 1
        said = f"between boundaries {first} and {last} not every epoch was compared; {event.at + 1} is where it shows"
        out.append(Evidence(said, "loss"))
    if another_data_set(context.run, context.epochs, event.at):
        out.append(Evidence("the loader reads another data set than in the epoch before"))
    return out
