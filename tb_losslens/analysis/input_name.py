"""What a change of the inputs is called, what to do about it, and the code for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.changes import another_data_set
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.epoch_levels import noise_ratio
from tb_losslens.analysis.epoch_pool import Levels
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.input_layout import exchanged
from tb_losslens.analysis.input_levels import InputLevels, Moved, place_moves, place_steps
from tb_losslens.analysis.input_proof import Proof, exact_map, mapped
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Epoch

TITLES = {
    "data": "Other data",
    "normalization": "Other scale or offset of the inputs",
    "constant": "Inputs became nearly constant",
    "layout": "Axes or channels of the inputs swapped",
}

ADVICE = {
    "": "Find what differs in the loading of the samples from this epoch on (constants, a mask, missing columns, an "
    "augmentation), or note the change if it is meant.",
    "normalization": "Use the same constants in every epoch, and in validation.",
    "augmentation": "Keep the ranges of the augmentation, or change them in small steps and note it.",
    "layout": "Compare one sample before and after it: the order of channels (RGB and BGR), of axes (NCHW and NHWC), and "
    "which side is up. Do it one way in every epoch, and in validation.",
    "constant": "Look at the numbers of one batch right before the model: a division that is done twice, a cast to an integer "
    "type or a mask leaves next to nothing of them.",
    "data": "Mix old and new samples instead of swapping them, or note the change.",
}

INDICES = "Some indices give another input"
MAY_BE_OTHERS = Evidence(
    "mean, spread and fixed places of the inputs stay: a data set that draws or orders its samples anew by itself gives other "
    "samples for the same indices, and looks like this"
)
ELSEWHERE = Evidence(
    "the model is given no tensor of the loader's batch itself, but a copy or what another network makes of it, and that moves "
    "as the network learns"
)


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
        detail, why = _by_noise(k, seen, others, proved)
        return detail, [Evidence(why)]
    if k in steps.places:
        detail, why = exchanged(context.run, k, seen, others, proved)
        return detail, [Evidence(why)]
    return ("augmentation", []) if k in steps.samples else ("", [])


def _other_data(context: Context, k: int) -> str:
    """Why the samples after boundary k are those of another data set, "" if they are not."""
    sizes = [_size(epoch) for epoch in context.epochs[k : k + 2]]
    if None not in sizes and sizes[0] != sizes[1]:
        return f"the data set has {sizes[1]:,} samples instead of {sizes[0]:,}"
    if another_data_set(context.run, context.epochs, k):
        return "the loader reads another data set"
    sets = [str(epoch.fields["set_hash"]) for epoch in context.epochs if epoch.fields.get("set_hash")]
    left, right = context.epochs[k].fields.get("set_hash"), context.epochs[k + 1].fields.get("set_hash")
    # with drop_last, and for one process of several, every epoch leaves other samples out, and the sets differ
    if left and right and left != right and len(sets) > len(set(sets)) and len(set(sets)) <= max(2, len(sets) // 2):
        return "the set of sample ids differs from that of the epochs before"
    return ""


def _by_noise(
    k: int, seen: InputLevels, others: list[int], proved: Sequence[Proof], *, nothing_left: float = 0.01
) -> tuple[str, str]:
    """(detail, why) from how the noise from batch to batch changed, and the means at fixed places of a sample.

    With less than `nothing_left` of their spread the inputs are told by that alone. One scale and offset is claimed only
    where each place of a sample that is looked at follows it. Where all keep their means instead, and the side with the larger
    spread is known to be no scale and offset of what the loader gives, noise with a mean of zero was added.
    """
    scaled = seen.logs.middle[k + 1] - seen.logs.middle[k]
    if scaled < math.log(nothing_left):
        return "constant", f"less than {percent(nothing_left)} of their spread is left"
    (of_spread, error), (of_mean, error_of_mean) = (noise_ratio(one, k, others) for one in (seen.logs, seen.means))
    changes = ((of_spread, error), (of_mean - scaled, error_of_mean))
    follow, kept, places = _follow(k, seen)
    if any(proof.other[int(scaled > 0)] for proof in proved) and _places_stay(k, seen, others, math.exp(scaled)):
        grows, added = ("grows", "added") if scaled > 0 else ("shrinks", "left out")
        said = f"{plural(len(seen.places), 'place')} of a sample keep their means while the spread {grows}"
        return "augmentation", f"{said}, and no scale does that: noise around zero is {added}"
    if kept:
        said = f"{kept} of {plural(places, 'place')} of a sample keep their mean, where one scale and offset would move it"
        return "", said
    if all(abs(change) <= max(0.1, 2.5 * sigma) for change, sigma in changes):
        if follow == places and 2 * places > len(seen.places):
            return "normalization", f"each of {plural(places, 'place')} of a sample follows one scale and offset"
        varied = "from batch to batch they vary as before, up to that factor"
        return "", f"{varied}: another scale or offset would leave that, but it is no proof of one"
    most = max((change for change, _ in changes), key=abs)
    said = f"from batch to batch they vary {number(math.exp(most), 2)} times as much as one scale and offset would leave"
    return ("augmentation", f"{said}: something random changed") if most > 0 else ("", said)


def _places_stay(k: int, seen: InputLevels, others: list[int], factor: float, *, errors: float = 4.0) -> bool:
    """True if the means at the places stay as far apart as they were, where a scale by `factor` would spread them by as much.

    No place moves, and the slope of the means after on those before, over all places, is that of no change and not `factor`.
    """
    move, error = place_steps(seen, k, others)
    before = np.array([place.middle[k] for place in seen.places])
    known = np.isfinite(move) & np.isfinite(error) & np.isfinite(before)
    if known.sum() < 3 or np.isfinite(place_moves(seen, k, others)).any():
        return False
    apart = before[known] - before[known].mean()
    square = float((apart**2).sum())
    if not square > 0:
        return False
    change, allowed = (
        float((apart * move[known]).sum()) / square,
        errors * float(np.hypot.reduce(apart * error[known])) / square,
    )
    return abs(change) <= allowed < abs(factor - 1) - abs(change)


def _follow(k: int, seen: InputLevels, *, within: float = 4.0) -> tuple[int, int, int]:
    """(places that follow the map of the whole input, that keep their mean against it, places that can tell).

    A place can tell where the map would move its mean by more than twice `within` standard errors.
    """
    factor = math.exp(seen.logs.middle[k + 1] - seen.logs.middle[k])
    offset = seen.means.middle[k + 1] - factor * seen.means.middle[k]
    of_factor = math.hypot(*_errors(seen.logs, k)) * factor
    before_all, after_all = _errors(seen.means, k)
    of_offset = math.hypot(after_all, factor * before_all)
    follow = kept = tell = 0
    for place in seen.places:
        before, after = place.middle[k], place.middle[k + 1]
        error, error_after = _errors(place, k)
        mapped = factor * before + offset
        allowed = within * math.hypot(error_after, factor * error, of_offset, of_factor * (before - seen.means.middle[k]))
        if not abs(mapped - before) > 2 * allowed:  # also where one of them is NaN
            continue
        tell += 1
        follow += bool(abs(after - mapped) <= allowed)
        kept += bool(abs(after - before) <= within * math.hypot(error, error_after))
    return follow, kept, tell


def _errors(seen: Levels, k: int) -> list[float]:
    """Standard errors of the medians of epochs k and k + 1."""
    return [1.2533 * float(seen.noise[j]) / math.sqrt(max(1.0, float(seen.count[j]))) for j in (k, k + 1)]


def _size(epoch: Epoch) -> int | None:
    loader = epoch.fields.get("loader")
    size = loader.get("dataset_size") if isinstance(loader, dict) else None
    return int(size) if size is not None else None


def repair(context: Context, detail: str, k: int, *, step: int | None = None) -> str:
    """Code that undoes a scale and an offset that are known exactly, mixes old and new data, or shows what the model gets.

    `step` is where it begins, unless that is boundary k itself.
    """
    step = context.boundaries[k].step if step is None else step
    if detail == "normalization" and (known := exact_map(context.run, context.epochs, k)):
        return f"# from step {step} on the model gets {mapped(*known)}; as before:\nx = {_inverse(*known)}"
    if detail == "data":
        return "dataset = torch.utils.data.ConcatDataset([old_dataset, new_dataset])     # instead of one after the other"
    if detail == "augmentation":
        return f'if step == {step}:\n    writer.note("augmentation changed", kind="config_change")     # where it is meant'
    return (
        f"# right before the model, before and after step {step}: what differs, and in which places of a sample?\n"
        "print(x.dtype, x.float().min(), x.float().max())\n"
        "print(x.float().mean(0), x.float().std(0))"
    )


def _inverse(factor: float, offset: float) -> str:
    """Code that undoes `factor x + offset`, without what does nothing."""
    moved = "x" if offset == 0 else f"x {'+' if offset < 0 else '-'} {abs(offset):.6g}"
    if f"{factor:.6g}" == "1":
        return moved
    return f"{moved if offset == 0 else f'({moved})'} / {factor:.6g}"
