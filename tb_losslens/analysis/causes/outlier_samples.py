"""A few samples, or a part of the data, have inputs of another size than all others, and come back in every epoch.

What it sees:
    The highest, the middle and the lowest mean of a sample in each batch, and whose the highest is; the spread of its inputs;
    which sample of a batch has the largest loss; sample ids.

Why it matters:
    A folder of images in 0..255 among others in 0..1, or a reading in another unit, dominates the gradient of every batch that
    holds one. The loss is rough for no visible reason, the LR has to be small, and the other samples are learned worse.

How it decides:
    All of it: samples whose mean lies ten times as far above the middle of their batch as others lie on either side; a gap of
    a factor of three to all others, larger than the tail of the others has by chance; the same ids in two epochs or more, and
    batches that hold one of these ids are all like that; and an effect: they have the largest loss in half of their batches,
    or loss or gradient of these batches stands out from those around them, or is half as large again as that of all others.
    Where nearly every batch holds one there is no gap to show: then they must all lie at one level, which a heavy tail does
    not. Or by the spread of whole batches: with a gap of a factor of three between those with a large one and all others, it is
    the samples that never came in one of the others, if each of the first holds one of them and chance would leave a tenth as
    many at most. `mixed_formats` if they lie at one level and are a fiftieth of the samples or more, `extreme` else. It acts
    in every epoch alike, so it explains no jump at a boundary.

What to try:
    Look at the ids listed; one preprocessing for all files; clean or drop what is broken.

When it is wrong:
    Right but rare samples stand apart as well: ids are listed, not judged. Only samples that lie above or spread wider are
    named by id, so parts that are too dark are not seen here, nor is a single sample. Batches that stand apart as a whole, for
    a while, are `bad_batch`; all samples from an epoch on are `input_shift`.

References:
    Rényi, On the theory of order statistics, 1953. Barnett and Lewis, Outliers in Statistical Data, 1994.
"""

from __future__ import annotations

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.known import is_known
from tb_losslens.analysis.level_outliers import HighSamples, effect, high_samples
from tb_losslens.analysis.text import number, percent, plural, some
from tb_losslens.analysis.wide_samples import of_two_spreads, wide_samples
from tb_losslens.events.columns import how_to_record

ID = "outlier_samples"
REQUIRES: tuple[str, ...] = ("loss", "epoch", "sample_level_max")


def find(context: Context, *, least_part: float = 0.02, alike: float = 3.0) -> Outcome:
    """One finding, or what stands apart without an effect.

    Args:
        context: the run and its measurement.
        least_part: part of the samples from which on they are a format of their own.
        alike: and no more than this factor between their distances.
    """
    run = context.run
    if len(context.epochs) < 2:
        return Skipped(ID, "the run has one epoch so far; two are needed to see samples come back", "")
    if not run.has("sample_ids"):
        return Skipped(ID, "sample ids are unknown: what comes back cannot be told", how_to_record("sample_ids"))
    seen = high_samples(run) or wide_samples(run)
    read = int(is_known(run, "sample_level_max").sum())
    if seen is None:
        batches, wide = plural(read, "batch"), len(of_two_spreads(run)[0])
        if wide:
            said = f"the spread of {plural(wide, 'batch')} lies apart, and which samples make it is not known yet"
            return Checked(ID, f"no sample stands apart from the others by its mean in {batches} that were read; {said}")
        return Checked(ID, f"no sample stands apart from the others by its mean or spread in {batches} that were read")
    said, shown = effect(run, seen)
    if not shown and _shown_by_batches(context, seen):
        said, shown = "single batches with them stand out in loss or gradient from those around", True
    if not shown:
        which = f"samples {some(seen.ids, 8)} stand apart by their {_WHAT[seen.signal]}"
        return Checked(ID, f"{which}, without an effect that shows: {said}")
    return _finding(context, seen, said, least_part=least_part, alike=alike)


_WHAT = {"sample_level_max": "mean", "input_std": "spread"}
"""What tells the samples, by its column."""


def _shown_by_batches(context: Context, seen: HighSamples) -> bool:
    """True if `bad_batch` found batches with recurring samples, and most of them are those of these samples."""
    found = context.found("bad_batch")
    if found is None or found.detail != "recurring" or not found.steps:
        return False
    steps = set(context.run.step[seen.rows].tolist())
    return 2 * len(steps & set(found.steps)) >= len(found.steps)


def _finding(context: Context, seen: HighSamples, said: str, *, least_part: float, alike: float) -> Finding:
    run = context.run
    size = run.ragged["sample_ids"].values
    part = len(seen.ids) / max(1, len(set(size.tolist())))
    mixed = part >= least_part and seen.alike <= alike
    high, usual = number(seen.level), number(seen.usual)
    step = int(run.step[seen.rows[0]])
    batches = f"{len(seen.rows):,} of {plural(len(seen.rows) + len(seen.clean), 'batch')} that were read"
    near, others = number(seen.apart), number(seen.others)
    if seen.signal == "input_std":
        of_all = f"the inputs of {batches} spread {near} times as far as usual and more, no others beyond {others} times"
        nearest = f"{plural(len(seen.ids), 'sample')} came in none but these, and one or more in each of them"
    else:
        of_all = f"the highest sample of {batches} has a mean of {high}, beside {usual} in the middle"
        nearest = f"the nearest lies {near} times as far out as others spread, no other beyond {others}"
    evidence = (
        Evidence(of_all, seen.signal),
        Evidence(nearest, seen.signal),
        Evidence(f"{plural(len(seen.ids), 'sample')} ({percent(part)}) came so, in {seen.epochs} epochs", "sample_ids"),
        Evidence(said, "sample_loss_max"),
    )
    name = _WHAT[seen.signal]
    what = "A part of the data has another scale" if mixed else "A few samples are far out"
    return Finding(
        ID, "fault", "likely", f"{what}, in every epoch",
        f"Samples {some(seen.ids, 8)} have a {name} of {high} where others have {usual}, whenever they come; {said}.",
        detail="mixed_formats" if mixed else "extreme", score=0.75, steps=(step,), explains_jump=False,
        evidence=evidence,
        against=(Evidence("they come in every epoch alike, which makes no jump at a boundary", "loss"),),
        advice="Look at these samples. " + ("Bring all files to one scale." if mixed else "Clean or drop what is broken."),
        fix=(
            f"for i in {list(seen.ids[:40])}:     # their {name} is {high}, that of others {usual}\n"
            "    sample, target = train_set[i]\n"
            "    print(i, sample.dtype, sample.float().mean(), sample.float().std(), target)"
        ),
        confirm="Leave these samples out for an epoch: the loss of a batch must vary less.",
    )  # fmt: skip
