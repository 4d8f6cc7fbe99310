"""Some classes are so rare that the net neglects them, and how many of them a batch holds decides its loss.

What it sees:
    The class mix of every batch that was read (or the mean of floating targets that are all 0 or 1), the batch loss, and the
    losses of single classes where those are known; whether the criterion weighs its classes.

Why it matters:
    The mean loss of a batch hardly counts a class of one sample in fifty, so the net learns it last or never, though it is
    often the class that matters. The loss curve then mostly shows how many of these samples came, which looks like noise, or
    at a boundary like a jump.

How it decides:
    All of it, over the last half of the epochs: a class has less than half of an even share and the largest has five times
    as many samples or more; samples of the rare classes lose three times as much as the others or more; and their number in a
    batch explains half of the variance of the batch loss within epochs or more, or a quarter where they lose ten times as much:
    what is left is then the spread among the neglected samples themselves. Rare classes that are learned as well as the
    others are none. Nor are classes that the criterion weighs, on purpose, nor tokens and pixels, which are always uneven. It
    explains a jump at a boundary where the mix of classes on both sides accounts for half of it or more.

What to try:
    Weights for the classes in the criterion, or a sampler that draws the rare ones more often; a metric by class.

When it is wrong:
    A rare class that cannot be told from the others by its inputs, or whose labels are wrong, looks the same. Weights that are
    given to a function and not to a module are not seen; then the loss is no known function of output and target, and it is
    called possible only. `python -m demo.healthy` counts false alarms. A class mix that changes for good is `target_shift`;
    batches of one class after another are `incomplete_shuffle`.

References:
    Japkowicz and Stephen, The class imbalance problem, 2002. Cui et al., Class-balanced loss based on effective number of
    samples, 2019.
"""

from __future__ import annotations

import math

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.decompose import which_samples
from tb_losslens.analysis.explain import excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.loader_repair import typical_size
from tb_losslens.analysis.rare_class import Rare, Shares, class_shares_of, rare_classes, weights_given
from tb_losslens.analysis.text import number, percent, plural, some, times
from tb_losslens.events.columns import how_to_record

ID = "class_imbalance"
REQUIRES: tuple[str, ...] = ("loss", "epoch")


def find(
    context: Context,
    *,
    least_part: float = 0.5,
    least_skew: float = 5.0,
    least_harder: float = 3.0,
    least_explained: float = 0.5,
    far_harder: float = 10.0,
    level: float = 1e-6,
    least_batches: int = 30,
) -> Outcome:
    """One finding, or what is uneven and does no harm.

    Args:
        context: the run and its measurement.
        least_part: a class with less than this part of an even share is rare.
        least_skew: times as many samples as a rare class that the largest class has.
        least_harder: times as much as the others that samples of rare classes lose.
        least_explained: part of the variance of the batch loss that follows their number.
        far_harder: times as much from which on half of that part is enough.
        level: of that slope.
        least_batches: that must have been read in the last half of the epochs.
    """
    run, epochs = context.run, context.epochs
    shares = class_shares_of(run)
    if shares is None:
        return Skipped(ID, "the classes were not recorded", how_to_record("classes"))
    if not shares.single:
        return Checked(ID, "each sample has many targets, as tokens or pixels have: those are always uneven")
    if len(epochs) < 2:
        return Skipped(ID, "the run has one epoch so far; at first every class is new to the model", "")
    late = epochs[len(epochs) // 2 :]
    rare = rare_classes(run, shares, late, least_part=least_part)
    if rare is None:
        usual = shares.usual
        said = f"the {len(usual):,} classes hold {percent(float(usual.min()))} to {percent(float(usual.max()))} of the samples"
        few = "too few of the rare ones were read late in the run to tell their loss"
        return Checked(ID, f"{said}: {few if shares.rare(least_part).any() else 'none is rare'}")
    mix = _mix(rare)
    weighed = weights_given(run)
    if weighed:
        return Checked(ID, f"{mix}, and {weighed} on purpose")
    seen = f"their number explains {percent(rare.explained)} of the variance of the batch loss"
    if rare.batches < least_batches:
        return Checked(ID, f"{mix}; only {plural(rare.batches, 'batch')} were read late in the run")
    enough = least_explained * (0.5 if rare.harder >= far_harder else 1.0)
    if rare.skew < least_skew or not rare.harder >= least_harder or rare.explained < enough or rare.p > level:
        harder = "" if math.isnan(rare.harder) else f" and they lose {times(rare.harder)} as much as the others"
        return Checked(ID, f"{mix}, but {seen}{harder}: too little for a class that is neglected")
    return _finding(context, shares, rare, mix, seen)


def _mix(rare: Rare) -> str:
    which = f"class{'es' if len(rare.names) > 1 else ''} {some(rare.names)}"
    hold = "hold" if len(rare.names) > 1 else "holds"
    return f"{which} {hold} {percent(rare.share)} of the samples, the largest {percent(rare.largest)}"


def _finding(context: Context, shares: Shares, rare: Rare, mix: str, seen: str) -> Finding:
    run = context.run
    parts = {b.index: part for b in context.boundaries if b.significant and (part := _part(context, b.index)) is not None}
    at = tuple(k for k, part in parts.items() if part >= 0.5)
    first = context.epochs[len(context.epochs) // 2].first
    span = (first, len(run))
    known = "by the losses of single samples" if rare.measured else "as the slope of the batch loss tells"
    evidence = [
        Evidence(mix, shares.signal, span),
        Evidence(f"their samples lose {number(rare.own)} on average, the others {number(rare.others)}, {known}", "loss", span),
        Evidence(f"{seen} within epochs ({plural(rare.batches, 'batch')} of the last half)", "loss", span),
    ]
    against = []
    if at:
        said = f"{percent(min(1.0, parts[at[0]]))} of the jump at boundary {at[0] + 1} is the mix of classes on its two sides"
        evidence.append(Evidence(said, shares.signal))
    else:
        against.append(Evidence("no jump at a boundary comes from it: it acts on every batch", "loss"))
    if not rare.plain:
        against.append(Evidence("what the loss is made of is not known: it may weigh the classes on purpose"))
    return Finding(
        ID, "fault", "likely" if rare.plain else "possible", "Rare classes are neglected",
        f"{mix[0].upper()}{mix[1:]}; their samples lose {times(rare.harder)} as much, and {seen}.",
        score=0.7 if rare.plain else 0.4, boundaries=at, steps=(int(run.step[first]),),
        share=min(1.0, parts[at[0]]) if at else None, explains_jump=bool(at),
        evidence=tuple(evidence), against=tuple(against),
        missing=() if rare.measured else (how_to_record("per_sample"),),
        advice="Weigh the classes in the criterion or draw rare ones more often, and watch a metric by class.",
        fix=_fix(context, shares, rare),
        confirm="Print the accuracy of each class on held-out data: that of the rare ones lies far below the others.",
    )  # fmt: skip


def _part(context: Context, k: int) -> float | None:
    """Part of the jump at boundary k that the mix of classes accounts for; None where that cannot be told."""
    boundary = context.boundaries[k]
    value, _ = which_samples(context.run, boundary)
    size = excess(boundary)
    return value / size if value is not None and math.isfinite(size) and size else None


def _fix(context: Context, shares: Shares, rare: Rare) -> str:
    usual = shares.usual
    if shares.signal == "target_mean":
        ratio = float(usual[0] / usual[1])
        return f"criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor({ratio:.3g}))     # {percent(float(usual[1]))} are 1"
    count = max(shares.names) + 1
    if count > 64 or (usual <= 0).any() or len(usual) < 2 or min(shares.names) < 0:
        size = typical_size(context)
        return (
            "from collections import Counter\n\n"
            f"weight = {{c: 1 / n for c, n in Counter(labels).items()}}     # classes {some(rare.names, 8)} are rare\n"
            "sampler = WeightedRandomSampler([weight[c] for c in labels], len(labels))\n"
            f"train_loader = DataLoader(train_set{f', batch_size={size}' if size else ''}, sampler=sampler)"
        )
    inverse = 1 / (usual * len(usual))
    by_class = dict(zip(shares.names, inverse.tolist(), strict=True))
    weights = ", ".join(f"{by_class.get(c, 1.0):.3g}" for c in range(count))
    return f"criterion = nn.CrossEntropyLoss(weight=torch.tensor([{weights}]))     # inverse to the share of each class"
