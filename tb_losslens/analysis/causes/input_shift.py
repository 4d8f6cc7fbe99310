"""What the model is given changes at an epoch and stays changed.

What it sees:
    Which samples came back with another input than in the epochs before; what is done to a batch between the loader and the
    model; mean and spread of the inputs, of single samples, and the mean at fixed places of a sample, as the model got them;
    size and sample set of the data set.

Why it matters:
    A network trained on inputs of one kind meets others: the loss jumps up and needs as long to come back as the first layer
    needs to adapt. Preprocessing that is built anew, a cache made with other constants, an augmentation schedule, axes that
    are flipped or swapped and another data set all look like this.

How it decides:
    Proofs first. Samples that came back equal in every epoch and different in one were changed in between; a random
    augmentation changes them each time, which proves nothing, but its first or last epoch does. A batch that reached the model
    as the loader gave it, and from an epoch on does not, is the same for what comes after the loader.
    Then levels of whole epochs. Their medians and their totals must both move, by many standard errors, by a twentieth of the
    spread of the inputs or more, far more than within the epochs and than at other boundaries, and stay. Where few batches
    were read, epochs are taken together. Places of a sample that move while mean and spread stay are a flip, a rotation or
    parts that changed places. Where the class mix moves at the same boundary (`target_shift`) they are other samples, whose
    inputs follow, unless a proof stands. What moved tells
    what it is called: another data set (its size or its sample ids changed), normalization (one scale and offset is read on
    the way to the model, or fits each place of a sample that is looked at), constant (next to nothing of the spread is left),
    layout (places changed places and come back equal, or vary too little for a random change), augmentation (something random
    grew, or no place moves while the spread grows by no scale). Else it has no name but what was measured. Where the batches
    that were read tell at which of them inside an epoch it began, that one is named; a step of mean or spread where the loss
    rises inside an epoch is a change as well, and so is one for good between the epochs on either side of it. Planned if
    somebody noted a `config_change` there. It explains the jump where the loss moves at the same boundary or batch, or where
    the loss of whole epochs takes a step up there and keeps it, unless the
    model was replaced there.

What to try:
    The same preprocessing, with the same constants, in every epoch and in validation; a note where a change is meant.

When it is wrong:
    The facts are where and how far; augmentation is a guess from how the noise changed. A first layer that normalises
    absorbs scale and offset. A steady random augmentation and a drift by as much at each boundary are no shift. Samples that
    come back with other bits while nothing that was measured and no loss moves (a cache of narrower numbers) are said to be
    harmless so far, and so are levels of what is no tensor of the loader: it may be what another network makes, and learns.
    A data set that maps its indices to other samples by itself looks like one whose samples changed. Fingerprints of some
    passes are left out on quick trainings: the place is then one of several boundaries, and the change a fault only where the
    loss tells at which. Of long passes a part of the batches has fingerprints, and where inside an epoch it began is not told.
    `python -m demo.healthy` counts false alarms. A span of bad batches moves itself only: `bad_batch`.

References:
    Standard error of the median, 1.2533 sigma / sqrt(n). Sugiyama and Kawanabe, Machine Learning in Non-Stationary
    Environments, 2012 (covariate shift).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.changes import model_replaced, planned_at
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import excess, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.held_out import held_out_rises
from tb_losslens.analysis.input_inside import begun_inside
from tb_losslens.analysis.input_levels import Moved, class_mix_moves, input_levels, moved
from tb_losslens.analysis.input_name import ADVICE, ELSEWHERE, INDICES, MAY_BE_OTHERS, TITLES, named, repair
from tb_losslens.analysis.input_place import loss_levels, loss_rises, placed, somewhere
from tb_losslens.analysis.input_proof import proofs
from tb_losslens.analysis.input_report import Seen, in_short, is_sure, measured_at
from tb_losslens.analysis.input_step import relocated
from tb_losslens.analysis.inside_report import inputs_inside
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.late_inputs import how_many_read, late_inputs
from tb_losslens.analysis.other_samples import other_samples
from tb_losslens.analysis.quiet_inputs import quiet_inputs
from tb_losslens.analysis.text import number, plural, signed, some
from tb_losslens.events.columns import how_to_record

ID = "input_shift"
REQUIRES: tuple[str, ...] = ("epoch",)


def find(context: Context, *, least_effect: float = 0.05, most_shifts: int = 3, near: int = 5) -> list[Outcome]:
    """At boundaries, and inside epochs: what changes there changes the levels of two of them.

    Args:
        context: the run and its measurement.
        least_effect: see `_at_boundaries`.
        most_shifts: the same.
        near: steps between what the inputs and what the loss say that are one place.
    """
    known = _at_boundaries(context, least_effect=least_effect, most_shifts=most_shifts)
    known = [relocated(context, one) if isinstance(one, Finding) else one for one in known]
    begun = {step for one in known if isinstance(one, Finding) and not one.boundaries for step in one.steps}
    inside = [one for one in inputs_inside(context, ID) if not any(abs(step - one.steps[0]) <= near for step in begun)]
    if not inside:
        return known
    told = np.array([step for one in inside for step in one.steps])
    return [*inside, *(one for one in known if isinstance(one, Finding) and not _is_of(context, one, told))]


def _is_of(context: Context, finding: Finding, steps: NDArray[np.int64]) -> bool:
    """True if each boundary of a finding that is not proved borders on the epoch of one of `steps`."""
    rows = np.flatnonzero(np.isin(context.run.step, steps))
    around = [(context.epochs[k].first, context.epochs[k + 1].last) for k in finding.boundaries]
    return finding.strength != "proved" and bool(around) and all(((rows >= a) & (rows < b)).any() for a, b in around)


def _at_boundaries(context: Context, *, least_effect: float, most_shifts: int) -> list[Outcome]:
    """Decides from all of it together; planned and other boundaries are findings of their own.

    Args:
        context: the run and its measurement.
        least_effect: smallest move of the mean in spreads, or of the spread as a part of itself.
        most_shifts: with more of them inputs alternate, and none is for good.
    """
    run = context.run
    if len(context.epochs) < 2:
        return [Skipped(ID, "the run has one epoch so far; two are needed to compare their inputs", "")]
    known = proofs(run, context.epochs, most=most_shifts)
    compared = any(epoch.fields.get("inputs_compared") for epoch in context.epochs)
    if not known and not compared and not (run.has("input_mean") and run.has("input_std")):
        return [Skipped(ID, "the inputs were not recorded", how_to_record("input_mean"))]
    in_order = context.found("incomplete_shuffle") is not None
    levels = input_levels(run, context.epochs, in_order=in_order)
    steps = moved(levels, least=least_effect) if levels.unit > 0 else Moved((), (), (), {})
    # batches were read for their loss: without any there is nothing more to see
    chosen = not by_turn(run).all() and not in_order
    late = late_inputs(run, context.epochs, least=least_effect) if chosen and not (steps.all() or known) else None
    if late is not None:
        levels, steps = late
    if len(steps.all()) > most_shifts:
        steps = Moved((), (), (), {}) if known else steps
    loss = loss_levels(context)
    rises = tuple(loss_rises(loss))
    by_boundary, open_ones = placed(context, known, steps.all(), rises)
    at = sorted({*steps.all(), *by_boundary})
    follows = {k for k in other_samples(context) if k not in by_boundary} & set(at)
    at = [k for k in at if k not in follows]
    if follows and not at and not open_ones:
        return [Checked(ID, f"the inputs change at {plural(len(follows), 'boundary')}, with the classes: other samples")]
    if not at and not open_ones:
        return [begun_inside(context, levels, ID, least=least_effect) or quiet_inputs(run, context.epochs, levels)]
    if len(at) > most_shifts:
        return [Checked(ID, f"the inputs change at {plural(len(at), 'boundary')} and never for good")]
    mix = frozenset(class_mix_moves(run, context.epochs))
    seen = Seen(levels, steps, by_boundary, mix, loss, rises, late is not None)
    planned = [k for k in at if planned_at(run, context.boundaries[k].batch) is not None]
    groups = (planned, [k for k in at if k not in planned])
    out: list[Outcome] = [_finding(context, group, at, seen, is_planned=group is planned) for group in groups if group]
    return out + [somewhere(context, proof, loss) for proof in open_ones]


def _finding(context: Context, at: Sequence[int], all_shifts: Sequence[int], seen: Seen, *, is_planned: bool) -> Finding:
    run, k = context.run, at[0]
    boundary, levels = context.boundaries[k], seen.levels
    proved = seen.proofs.get(k, [])
    others = [j for j in all_shifts if j != k]
    detail, reason = named(context, k, (levels, seen.moved, others), proved, other_classes=k in seen.class_mix)
    evidence = [*(proof.evidence for proof in proved), *measured_at(context, k, seen), *reason]
    if proved and not is_sure(k, seen):
        first, last = min(p.between[0] for p in proved) + 1, max(p.between[-1] for p in proved) + 1
        how = "rises for good" if k in seen.rises and not boundary.significant else "stands out"
        said = f"between boundaries {first} and {last} not every epoch was compared; at {k + 1} alone the loss {how}"
        evidence.append(Evidence(said, "loss"))
    stays = True
    if seen.late:
        read, stays = how_many_read(run, boundary.batch)
        evidence.append(read)
    lasting = [j for j in at if j in seen.rises]
    other_model = model_replaced(run, [context.boundaries[j] for j in at])
    loss_moves = (jumps(context, at) or bool(lasting)) and other_model is None
    measured = k in seen.moved.all() or any(proof.on_the_way for proof in proved)
    against = [] if measured else [MAY_BE_OTHERS]
    if other_model is not None:
        against.append(Evidence(f"{other_model}, which moves the loss by itself", "loss"))
    elif loss_moves:
        evidence.append(
            Evidence(f"the loss moves by {signed(typical_excess(context.boundaries[j] for j in at))} there", "loss")
        )
    else:
        against.append(Evidence(f"the loss moves by {signed(excess(boundary))} there, no more than at other cuts", "loss"))
    if lasting:
        before, after = seen.loss.middle[lasting[0] : lasting[0] + 2]
        said = f"over whole epochs its median rises from {number(before)} to {number(after)} and stays up"
        evidence.append(Evidence(said, "loss", (context.epochs[lasting[0]].first, context.epochs[lasting[0] + 1].last)))
    held_out = held_out_rises(run, boundary.batch)
    evidence += [held_out] if held_out else []
    model = run.facts.get("model")
    if isinstance(model, dict) and model.get("batchnorm"):
        against.append(Evidence("the model normalises by the batch, which absorbs a scale and an offset"))
    if is_planned:
        event = planned_at(run, boundary.batch)
        evidence.append(Evidence(f"somebody noted the change: {(event.text if event else '') or 'config_change'}"))
    elsewhere = run.facts.get("inputs_of_loader") is False and not proved and detail in ("", "augmentation")
    against += [ELSEWHERE] if elsewhere else []
    harmless = not loss_moves and (not measured or other_model is not None or elsewhere) and not is_planned
    where = f"boundar{'y' if len(at) == 1 else 'ies'} {some([j + 1 for j in at])}"
    return Finding(
        ID,
        "planned" if is_planned else "benign" if harmless else "fault",
        "proved" if all(is_sure(j, seen) for j in at) else "likely" if stays else "possible",
        TITLES.get(detail, "Inputs changed") + (", without effect so far" if harmless else ""),
        f"{'The inputs change' if measured or loss_moves else INDICES} at {where}: {in_short(k, seen)}"
        + (" at the first." if len(at) > 1 else ", and stay so." if stays else "."),
        detail=detail,
        score=(0.3 if harmless else 0.85 if loss_moves else 0.7) + (0.1 if proved and not harmless else 0.0),
        boundaries=tuple(at),
        steps=tuple(context.boundaries[j].step for j in at),
        share=share_against_rest(context, at) if loss_moves else None,
        explains_jump=loss_moves,
        evidence=tuple(evidence),
        against=tuple(against),
        advice="Expected: compare the loss within each part of the run." if is_planned else ADVICE[detail],
        fix="" if is_planned else repair(context, detail, k),
        confirm=f"Load the samples of one batch before and after step {boundary.step}: they must be equal.",
    )
