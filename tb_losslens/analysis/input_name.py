"""What a change of the inputs is called, what to do about it, and the code for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.epoch_levels import noise_ratio
from tb_losslens.analysis.epoch_pool import Levels
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.input_levels import InputLevels, Moved
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Epoch

TITLES = {"data": "Other data", "normalization": "Other scale or offset of the inputs"}

ADVICE = {
    "": "Find what differs in the loading of the samples from this epoch on, or note the change if it is meant.",
    "normalization": "Use the same constants in every epoch, and in validation.",
    "augmentation": "Keep the ranges of the augmentation, or change them in small steps and note it.",
    "data": "Mix old and new samples instead of swapping them, or note the change.",
}


def named(
    context: Context,
    k: int,
    measured: tuple[InputLevels, Moved, list[int]],
    proved: Sequence[Proof],
    *,
    other_classes: bool,
) -> tuple[str, list[Evidence]]:
    """(detail, why) for the shift at boundary k.

    Args:
        context: the run and its measurement.
        k: the boundary.
        measured: levels of the inputs, where they move, and the other boundaries at which the inputs change.
        proved: what is proved of this boundary.
        other_classes: the class mix moves there as well.
    """
    seen, steps, others = measured
    other = _other_data(context, k)
    if other:
        return "data", [Evidence(other)]
    if other_classes and k in steps.places and not proved:
        return "data", [Evidence("the class mix moves there as well: these are other samples", "classes")]
    sure = next((proof.detail for proof in proved if proof.detail), "")
    if sure:
        return sure, []
    if k in (*steps.means, *steps.logs):
        detail, why = _by_noise(k, seen.means, seen.logs, others)
        return detail, [Evidence(why)]
    if k in steps.places:
        why = "mean and spread stay: the samples are flipped or turned, or parts of them have changed places"
        return "augmentation", [Evidence(why)]
    return ("augmentation", []) if k in steps.samples else ("", [])


def _other_data(context: Context, k: int) -> str:
    """Why the samples after boundary k are those of another data set, "" if they are not."""
    sizes = [_size(epoch) for epoch in context.epochs[k : k + 2]]
    if None not in sizes and sizes[0] != sizes[1]:
        return f"the data set has {sizes[1]:,} samples instead of {sizes[0]:,}"
    sets = [str(epoch.fields["set_hash"]) for epoch in context.epochs if epoch.fields.get("set_hash")]
    left, right = context.epochs[k].fields.get("set_hash"), context.epochs[k + 1].fields.get("set_hash")
    # with drop_last, and for one process of several, every epoch leaves other samples out, and the sets differ
    if left and right and left != right and len(sets) > len(set(sets)) and len(set(sets)) <= max(2, len(sets) // 2):
        return "the set of sample ids differs from that of the epochs before"
    return ""


def _by_noise(k: int, means: Levels, logs: Levels, others: list[int]) -> tuple[str, str]:
    """(detail, why) from how the noise from batch to batch changed."""
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


def repair(context: Context, detail: str, k: int, factor: float, offset: float) -> str:
    """Code that undoes a scale and an offset, mixes old and new data, or notes what is meant."""
    epoch = context.boundaries[k].epoch
    if detail == "normalization":
        undone = f"x = (x - {offset:.4g}) / {factor:.4g}"
        return f"# from epoch {epoch} on the model gets {factor:.4g} * x + {offset:.4g}; with the old constants:\n{undone}"
    if detail == "data":
        return "dataset = torch.utils.data.ConcatDataset([old_dataset, new_dataset])     # instead of one after the other"
    return f'if epoch == {epoch}:\n    writer.note("augmentation changed", kind="config_change")     # where it is meant'
