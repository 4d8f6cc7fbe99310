"""What the model is given changes at an epoch and stays changed.

What it sees:
    Mean and spread of the inputs of every batch, as the model got them; size and sample set of the data set.

Why it matters:
    A network trained on inputs of one scale and offset meets another: the loss jumps up and needs as long to come back as the
    first layer needs to adapt. Preprocessing that is built anew, a cache made with other constants, an augmentation schedule
    and a swapped data set all look like this.

How it decides:
    Levels of whole epochs. Their medians and their totals must both move, by many standard errors, by a twentieth of the
    spread of the inputs or more, far more than within the epochs and than at other boundaries, and stay. What moved tells
    what it is called: another data set (its size or its sample ids changed), normalization (spread and offset moved while the
    noise from batch to batch kept its shape: an affine map), else augmentation. Planned if somebody noted a
    `config_change` there. It explains the jump where the loss moves at the same boundary.

What to try:
    The same preprocessing, with the same constants, in every epoch and in validation; a note where a change is meant.

When it is wrong:
    The facts are where and how far; the name is a guess from how the noise changed. A first layer that normalises
    absorbs scale and offset. A steady random augmentation and a drift by as much at each boundary are no shift.
    `python -m demo.healthy` counts false alarms. A span of bad batches moves itself only: `bad_batch`.

References:
    Standard error of the median, 1.2533 sigma / sqrt(n). Sugiyama and Kawanabe, Machine Learning in Non-Stationary
    Environments, 2012 (covariate shift).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.changes import planned_at
from tb_losslens.analysis.content import sample_weights
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.epoch_levels import Levels, levels, noise_ratio, shifts
from tb_losslens.analysis.explain import excess, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.known import by_turn
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, percent, plural, signed, some
from tb_losslens.store.run import Epoch

ID = "input_shift"
REQUIRES: tuple[str, ...] = ("epoch", "input_mean", "input_std")


def find(context: Context, *, least_effect: float = 0.05, most_shifts: int = 3) -> list[Outcome]:
    """Decides from mean and spread together; planned and other boundaries are findings of their own.

    Args:
        context: the run and its measurement.
        least_effect: smallest move of the mean in spreads, or of the spread as a part of itself.
        most_shifts: with more of them inputs alternate, and none is for good.
    """
    run = context.run
    if len(context.epochs) < 2:
        return [Skipped(ID, "the run has one epoch so far; two are needed to compare their inputs", "")]
    mean, spread = run.float("input_mean"), run.float("input_std")
    turn = by_turn(run)  # batches that were read because their loss is high are no measure of their epoch
    mean, spread = np.where(turn, mean, np.nan), np.where(turn, spread, np.nan)
    weight = sample_weights(run)
    unit = median(spread)
    if not unit > 0:
        return [Checked(ID, "the inputs have no spread")]
    means = levels(mean, weight, context.epochs)
    logs = levels(np.log(np.maximum(spread, 1e-6 * unit)), weight, context.epochs)
    at = sorted({*shifts(means, least=least_effect * unit), *shifts(logs, least=math.log1p(least_effect))})
    if not at:
        return [Checked(ID, _fine(means, logs, unit))]
    if len(at) > most_shifts:
        return [Checked(ID, f"the inputs change at {plural(len(at), 'boundary')} and never for good")]
    planned = [k for k in at if planned_at(run, context.boundaries[k].batch) is not None]
    groups = (planned, [k for k in at if k not in planned])
    return [_finding(context, group, at, means, logs, is_planned=group is planned) for group in groups if group]


def _fine(means: Levels, logs: Levels, unit: float) -> str:
    steps, folds = finite(np.abs(np.diff(means.middle))), finite(np.abs(np.diff(logs.middle)))
    if not len(steps) or not len(folds):
        return "the inputs of too few batches were read to compare one epoch with the next"
    moved, scaled = float(steps.max()) / unit, float(np.expm1(folds.max()))
    return f"from epoch to epoch the inputs move by {percent(moved)} of their spread at most, their spread by {percent(scaled)}"


def _finding(
    context: Context, at: Sequence[int], all_shifts: Sequence[int], means: Levels, logs: Levels, *, is_planned: bool
) -> Finding:
    run, k = context.run, at[0]
    others = [j for j in all_shifts if j != k]
    boundary = context.boundaries[k]
    factor = math.exp(logs.middle[k + 1] - logs.middle[k])
    before, after = means.middle[k], means.middle[k + 1]
    old, new = math.exp(logs.middle[k]), math.exp(logs.middle[k + 1])
    detail, reason = _name(context, k, means, logs, others)
    span = (context.epochs[k].first, context.epochs[k + 1].last)
    evidence = [
        Evidence(
            f"the mean of the inputs goes from {number(before)} to {number(after)}",
            "input_mean",
            span,
        ),
        Evidence(f"their spread goes from {number(old)} to {number(new)} (a factor of {number(factor, 2)})", "input_std", span),
        Evidence(reason),
    ]
    moved = jumps(context, at)
    against = []
    share = share_against_rest(context, at) if moved else None
    if moved:
        evidence.append(
            Evidence(f"the loss moves by {signed(typical_excess(context.boundaries[j] for j in at))} there", "loss")
        )
    else:
        against.append(Evidence(f"the loss moves by {signed(excess(boundary))} there, no more than at other cuts", "loss"))
    model = run.facts.get("model")
    if isinstance(model, dict) and model.get("batchnorm"):
        against.append(Evidence("the model normalises by the batch, which absorbs a scale and an offset"))
    if is_planned:
        event = planned_at(run, boundary.batch)
        evidence.append(Evidence(f"somebody noted the change: {(event.text if event else '') or 'config_change'}"))
    where = f"boundar{'y' if len(at) == 1 else 'ies'} {some([j + 1 for j in at])}"
    return Finding(
        ID,
        "planned" if is_planned else "fault",
        "likely",
        {"data": "Other data", "normalization": "Other scale or offset of the inputs"}.get(detail, "Inputs changed"),
        f"The inputs change at {where}: mean {number(before)} to {number(after)}, spread {number(old)} to {number(new)}"
        + (", and stay so." if len(at) == 1 else " at the first."),
        detail=detail,
        score=0.85 if moved else 0.7,
        boundaries=tuple(at),
        steps=tuple(context.boundaries[j].step for j in at),
        share=share,
        explains_jump=moved,
        evidence=tuple(evidence),
        against=tuple(against),
        advice="Expected: compare the loss within each part of the run." if is_planned else _ADVICE[detail],
        fix="" if is_planned else _fix(context, detail, k, factor, after - factor * before),
        confirm=f"Load the samples of one batch again in epochs {boundary.epoch - 1} and {boundary.epoch}: they must be equal.",
    )


_ADVICE = {
    "": "Find what differs in the loading of the samples from this epoch on, or note the change if it is meant.",
    "normalization": "Use the same constants in every epoch, and in validation.",
    "augmentation": "Keep the ranges of the augmentation, or change them in small steps and note it.",
    "data": "Mix old and new samples instead of swapping them, or note the change.",
}


def _name(context: Context, k: int, means: Levels, logs: Levels, others: list[int]) -> tuple[str, str]:
    """(detail, why) for the shift at boundary k."""
    sizes = [_size(epoch) for epoch in context.epochs[k : k + 2]]
    if None not in sizes and sizes[0] != sizes[1]:
        return "data", f"the data set has {sizes[1]:,} samples instead of {sizes[0]:,}"
    sets = [str(epoch.fields["set_hash"]) for epoch in context.epochs if epoch.fields.get("set_hash")]
    left, right = context.epochs[k].fields.get("set_hash"), context.epochs[k + 1].fields.get("set_hash")
    # with drop_last every epoch leaves other samples out, and all sets differ
    if left and right and left != right and len(set(sets)) <= max(2, len(sets) // 2):
        return "data", "the set of sample ids differs from that of the epochs before"
    scaled = logs.middle[k + 1] - logs.middle[k]
    (of_spread, error), (of_mean, error_of_mean) = (noise_ratio(seen, k, others) for seen in (logs, means))
    changes = ((of_spread, error), (of_mean - scaled, error_of_mean))
    if all(abs(change) <= max(0.1, 2.5 * sigma) for change, sigma in changes):
        if max(error, error_of_mean) > 0.16:  # a random range that widens changes this by a third or more
            return "", "too few batches to tell a new scale or offset from a random range that widened"
        return (
            "normalization",
            "from batch to batch they vary as before, up to that factor: an affine map, as a normalization is",
        )
    times = number(math.exp(max((change for change, _ in changes), key=abs)), 2)
    said = f"from batch to batch they vary {times} times as much as an affine map would leave"
    return "augmentation", f"{said}: something random changed"


def _size(epoch: Epoch) -> int | None:
    loader = epoch.fields.get("loader")
    size = loader.get("dataset_size") if isinstance(loader, dict) else None
    return int(size) if size is not None else None


def _fix(context: Context, detail: str, k: int, factor: float, offset: float) -> str:
    epoch = context.boundaries[k].epoch
    if detail == "normalization":
        undone = f"x = (x - {offset:.4g}) / {factor:.4g}"
        return f"# from epoch {epoch} on the model gets {factor:.4g} * x + {offset:.4g}; with the old constants:\n{undone}"
    if detail == "data":
        return "dataset = torch.utils.data.ConcatDataset([old_dataset, new_dataset])     # instead of one after the other"
    return f'if epoch == {epoch}:\n    writer.note("augmentation changed", kind="config_change")     # where it is meant'
