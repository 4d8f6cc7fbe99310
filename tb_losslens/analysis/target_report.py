"""What is said of targets that change, and of those that do not: titles, advice, code to look at them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Checked, Evidence, Finding
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.known import by_turn, is_known
from tb_losslens.analysis.loader_repair import typical_size
from tb_losslens.analysis.mix import class_totals
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.target_proof import LASTING, ONE_EPOCH
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Epoch, Run

_ID = "target_shift"
TITLES = {
    LASTING: {True: "Targets of the same samples changed", False: "Targets of another kind from here on"},
    ONE_EPOCH: {True: "Targets of one epoch are others", False: "One epoch has targets of another kind"},
}
"""By detail, and whether the same samples are known to have changed."""

ADVICE = {
    True: "Find what builds the targets again: a label file, a class map, a cache. All epochs must read the same ones.",
    False: "Mix all classes and shards into each epoch, or note the change if it is meant.",
}
ADVICE_PLANNED = "Expected: compare the loss within each part of the run."


def quiet_targets(run: Run, epochs: Sequence[Epoch]) -> Checked:
    """By how much the targets differ from epoch to epoch at most, and what was compared."""
    said = []
    fields = [epoch.fields for epoch in epochs if epoch.fields.get("targets_compared")]
    if fields:
        changed, compared = (sum(int(f.get(name) or 0) for f in fields) for name in ("targets_changed", "targets_compared"))
        said.append(f"{percent(changed / compared)} of {compared:,} samples that came back had another target")
    turn = by_turn(run)
    for name, label in (("classes", "class mix"), ("target_mean", "mean target"), ("source", "data source")):
        read = is_known(run, name) & turn
        if read.any():
            said.append(f"the {label} of {plural(int(read.sum()), 'batch')} takes no other level at an epoch for good")
    return Checked(_ID, "; ".join(said) or "the targets were read in too few batches to compare one epoch with the next")


def relabelled_somewhere(context: Context, proof: Proof) -> Finding:
    """Targets that changed at one of several boundaries, where no loss tells at which."""
    first, last = proof.between[0], proof.between[-1]
    start, end = context.boundaries[first].step, context.boundaries[last].step
    quiet = "no single boundary in between stands out in the loss, nor does its level rise for good at one"
    return Finding(
        _ID, "fault", "proved", TITLES[LASTING][True],
        f"The targets change between boundaries {first + 1} and {last + 1}: {proof.evidence.split('; before,')[0]}.",
        detail=proof.detail, score=0.7, steps=(start,), explains_jump=False, evidence=(proof.evidence,),
        against=(Evidence(quiet, "loss"),), advice=ADVICE[True], fix=repair(context, last, ()),
        confirm=f"Load the targets of one batch before step {start:,} and after step {end:,}: they must be equal.",
    )  # fmt: skip


def repair(context: Context, k: int, signals: Sequence[str], *, step: int | None = None) -> str:
    """Code that shows the change at boundary k, or at `step` after it, with the run's own labels or levels."""
    run, epochs = context.run, context.epochs
    step = context.boundaries[k].step if step is None else step
    told = epochs[k + 1].fields.get("target_changes")
    listed = told if isinstance(told, list | tuple) else ()
    size = typical_size(context)
    loader = f"train_loader = DataLoader(train_set{f', batch_size={size}' if size else ''}, shuffle=True)"
    labels = {one[0]: one[1] for one in listed if isinstance(one, list | tuple) and len(one) == 3}
    if labels:
        return (
            f"# their labels before step {step}; put back what gave these\n"
            f"for i, label in {labels}.items():\n    assert int(train_set[i][1]) == label, (i, train_set[i][1])"
        )
    ids = [one[0] for one in listed if isinstance(one, list | tuple) and len(one) == 1]
    if ids:
        return f"# before step {step} and after it: these must be equal\nprint([train_set[i][1] for i in {ids}])"
    if run.has("classes"):
        mix = [_shares(run, epoch) for epoch in epochs[k : k + 2]]
        return (
            "from collections import Counter\n\n"
            f"# before step {step}: {mix[0]}\n# after it: {mix[1]}\n"
            "print(Counter(int(y) for _, y in train_set))\n"
            f"{loader}     # all classes in each epoch"
        )
    if "source" in signals:
        return (
            f"# the data source changes at step {step}: draw from all of them in each epoch\n"
            f"train_set = ConcatDataset(sources)\n{loader}"
        )
    before, after = (tuple(number(median(run.float(name)[e.first : e.last])) for name in _MOMENTS) for e in epochs[k : k + 2])
    return (
        f"# before step {step}: mean {before[0]}, spread {before[1]}; after it: mean {after[0]}, spread {after[1]}\n"
        "y = torch.stack([torch.as_tensor(y) for _, y in train_set]).float()\nprint(y.mean(), y.std())"
    )


_MOMENTS = ("target_mean", "target_std")


def _shares(run: Run, epoch: Epoch, *, most: int = 10) -> dict[int, str]:
    """Share of the most frequent classes among the samples that were counted, as text."""
    total = class_totals(run, epoch.first, epoch.last)
    whole = sum(total.values())
    names = np.array(sorted(total, key=lambda name: -total[name])[:most])
    return {int(name): f"{100 * total[int(name)] / whole:.0f} %" for name in sorted(names.tolist())}
