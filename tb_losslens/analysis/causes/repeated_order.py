"""The samples come in the same order in every epoch.

What it sees:
    The digest of the order of sample ids of each epoch; without ids, the loss profile of one epoch against the next.

Why it matters:
    With a fixed order each batch holds the same samples for ever: the gradient noise does not average out over epochs, and
    whatever differs between the first and the last batches returns at every boundary with the same sign. A run that jumps
    by a hair at all boundaries often does so for this reason alone.

How it decides:
    Equal digests prove it. Whether it is *why* the loss jumps is another question. Under a fixed order every place in the
    epoch has a step of its own that returns in each epoch; the boundary is explained if its step is no larger than those
    at other places. A larger one has another cause (sorted samples, memorisation, LR), and this is reported beside it.
    Without ids: the rank correlation of neighbouring epochs at equal positions against all circular shifts (likely). A profile
    cannot tell an order that is kept on purpose, for state that is carried from batch to batch: where the watched model is
    recurrent or is given tokens, it is a fault only if the loader was to shuffle, or if it is why the loss jumps.

What to try:
    `shuffle=True`, one generator for the whole run, `sampler.set_epoch(epoch)`; shuffle after the cache, not before.

When it is wrong:
    The proof is never wrong, but an order can be fixed on purpose (state carried from batch to batch: hand it to
    `log_batch(loss, hidden=hidden)`, and nothing is said). One batch an epoch or
    fewer than 10 samples prove nothing and are left out. The profile can err: `python -m demo.healthy` counts its alarms;
    a rhythm inside the epoch shows at several shifts and is refused. Samples that are only nearly in order are
    `incomplete_shuffle`.

References:
    Bottou, Curiously fast convergence of some stochastic gradient descent algorithms, 2009. PyTorch documentation,
    `DistributedSampler.set_epoch` and "Reproducibility".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tb_losslens.analysis.content import sorted_content
from tb_losslens.analysis.content_jump import moving_difference
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import around, excess, jumps, typical_excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped, Strength
from tb_losslens.analysis.hidden_resets import carries_state
from tb_losslens.analysis.loader_repair import repair_order
from tb_losslens.analysis.orders import Repeats, loader_of, may_carry_state, order_key, repeats
from tb_losslens.analysis.phase import phase_profile
from tb_losslens.analysis.restarts import restarts
from tb_losslens.analysis.text import lower_first, number, plural, signed, some
from tb_losslens.analysis.whole import is_whole
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Epoch

ID = "repeated_order"
REQUIRES: tuple[str, ...] = ("epoch",)
_HIDDEN = how_to_record("hidden_norm")


def find(context: Context, *, least_correlation: float = 0.4, least_z: float = 3.5, least_ratio: float = 2.0) -> Outcome:
    """Decides by the digests where there are any, else by the profile of the loss.

    Args:
        context: the run and its measurement.
        least_correlation: rank correlation between epochs that makes a profile.
        least_z: the same in its standard deviations for one pair of epochs, 1 / root of the positions.
        least_ratio: how many times it must exceed the largest at any circular shift.
    """
    run = context.run
    if len(context.epochs) < 2:
        return Skipped(ID, "the run has one epoch so far; two are needed to compare their orders", "")
    if carries_state(run):
        return Checked(ID, "state is carried from batch to batch, so the order is kept on purpose")
    seen = repeats(run)
    if seen.trivial:
        return Skipped(ID, seen.trivial, "")
    if seen.compared:
        if seen.again or seen.later:
            return _proved(context, seen)
        return Checked(ID, f"the order of samples differs in all {plural(seen.compared, 'pair')} of neighbouring epochs")
    profile = phase_profile(context)
    if profile is None:
        return Skipped(ID, "sample ids are unknown, and there is too little for a profile", how_to_record("sample_ids"))
    said = (
        f"the loss of an epoch predicts the next at equal positions, rank correlation {number(profile.correlation, 2)} "
        f"({plural(profile.pairs, 'pair')}, {profile.positions:,} positions), {number(profile.shifted, 2)} at most if shifted"
    )
    needed = max(least_correlation, least_ratio * profile.shifted, least_z / math.sqrt(profile.positions))
    if profile.correlation < needed:
        if profile.correlation >= least_correlation:  # too high for orders that differ, too low against the shifts
            return Skipped(ID, f"cannot be told without sample ids: {said}", how_to_record("sample_ids"))
        return Checked(ID, said)
    everywhere = tuple(b.index for b in context.boundaries)
    return _finding(context, everywhere, strength="likely", evidence=[Evidence(said, "loss")], repeated=context.epochs)


def _proved(context: Context, seen: Repeats) -> Finding:
    epochs = context.epochs
    key = order_key(epochs[seen.again[0] if seen.again else seen.later[0]])
    digest = f" (digest {key[:8]})" if key else ""
    evidence = []
    if seen.again:
        pairs = f"{len(seen.again):,} of {plural(seen.compared, 'pair')} of epochs"
        evidence.append(Evidence(f"the order of samples is the same in {pairs} in a row{digest}", "sample_ids"))
    if seen.later:
        numbers = some([epochs[k].epoch for k in seen.later])
        evidence.append(Evidence(f"epochs {numbers} have the order of an earlier epoch{digest}", "sample_ids"))
    first = epochs[seen.again[0] if seen.again else seen.later[0]].fields.get("first_ids") or ()
    if len(first):
        evidence.append(Evidence(f"they begin with samples {some(list(first)[:5], 5)}", "sample_ids"))
    at = tuple(b.index for b in context.boundaries if b.index + 1 in seen.again)
    keys = [order_key(epoch) for epoch in epochs]
    earlier = {keys.index(keys[k]) for k in seen.later}
    alike = sorted({*seen.again, *(k - 1 for k in seen.again), *seen.later, *earlier})
    found = _finding(context, at, strength="proved", evidence=evidence, repeated=[epochs[k] for k in alike])
    begun = None if seen.again else _seeded_by_process(context, {k: keys.index(keys[k]) for k in seen.later})
    return found if begun is None else _of_process(context, found, begun)


def _seeded_by_process(context: Context, pairs: Mapping[int, int]) -> int | None:
    """The row of the newest process whose epochs repeat those of one before; None if any repeats within its own process.

    `pairs` gives for each epoch that repeats the one that had its order first.
    """
    rows = [one.row for one in restarts(context.run)]
    between = [[row for row in rows if context.epochs[old].first < row <= context.epochs[k].first] for k, old in pairs.items()]
    return max(between[-1]) if between and all(between) else None


def _of_process(context: Context, found: Finding, row: int) -> Finding:
    """`found` with what to do where the seed is that of each process and not of each epoch."""
    step = int(context.run.step[row])
    return replace(
        found,
        title="A new process repeats the orders of the one before",
        text=f"{found.text} The process that begins at step {step:,} shuffles from the seed that the one before began with.",
        advice="Begin a process that goes on with another seed, or save the state of the generator and load it again.",
        fix=f"# in the process that goes on at step {step:,}, before its loader is made\ntorch.manual_seed({step})",
        confirm="Print the first five sample ids of its first epoch: they must not be those of an epoch before it.",
    )


def _finding(
    context: Context,
    at: tuple[int, ...],
    *,
    strength: Strength,
    evidence: list[Evidence],
    repeated: Sequence[Epoch],
) -> Finding:
    against: list[Evidence] = []
    share = None
    explains = bool(at) and jumps(context, at)
    if explains:
        explains, share, said = _boundary_is_like_other_places(context, at)
        (evidence if explains else against).append(said)
    elif at:
        against.append(Evidence("the loss moves at these boundaries no more than at cuts inside the epochs", "loss"))
    how, fix, said_of_loader = repair_order(context, repeated)
    against += said_of_loader
    proved = strength == "proved"
    meant = may_carry_state(context.run) and loader_of(context.run, repeated).get("shuffle") is not True
    mend = proved or explains or not meant
    text = f"The order of samples {'is' if proved else 'seems to be'} the same in {_epochs(repeated, context.epochs)}."
    if not explains and at and jumps(context, at):
        text += " It is worth mending, but it is not why the loss jumps." if mend else " It is not why the loss jumps."
    if not mend:
        against.append(Evidence("an order that is kept on purpose, since state is carried from batch to batch, looks the same"))
        how = f"If state is carried from batch to batch, leave it, and say so: `{_HIDDEN}`. Else: {lower_first(how)}"
    return Finding(
        ID,
        "fault" if mend else "benign",
        strength,
        "Same order of samples each epoch",
        text,
        score=0.9 if explains else 0.7 if mend else 0.3,
        boundaries=at,
        steps=tuple(context.boundaries[k].step for k in at[:50]),
        share=share,
        explains_jump=explains,
        evidence=tuple(evidence),
        against=tuple(against),
        missing=() if proved else (how_to_record("sample_ids"),) if mend else (how_to_record("sample_ids"), _HIDDEN),
        advice=how,
        fix=fix,
        confirm="Print the first five sample ids of two epochs in a row: they are equal now and must differ after the change.",
    )


def _epochs(repeated: Sequence[Epoch], epochs: Sequence[Epoch]) -> str:
    """How many epochs, and which where it is not all of them and they are in a row."""
    count = plural(len(repeated), "epoch")
    first, last = repeated[0].epoch, repeated[-1].epoch
    in_a_row = 2 < len(repeated) == last - first + 1 < len(epochs)
    return f"{count}, {first} to {last}" if in_a_row else count


def _boundary_is_like_other_places(
    context: Context, at: tuple[int, ...], *, least_places: int = 5, within: float = 3.0
) -> tuple[bool, float | None, Evidence]:
    """Whether steps of the loss that return at other places of the epoch are as large as that at the boundary.

    Returns:
        (explained, share, sentence). The share is what the other boundaries predict of each one: what returns.
    """
    m = context.boundaries[at[0]].m
    level = typical_excess(context.boundaries[k] for k in at)
    content = sorted_content(context.run, context.epochs)
    if content:
        return False, None, Evidence(f"{content}: what is at the ends of the epoch differs, and that makes the jump", "classes")
    moves = moving_difference(context.run.loss[:, None], m)[:, 0]
    epochs = [epoch for epoch in (context.epochs[k + 1] for k in at) if is_whole(context.run, epoch)]
    length = min((len(epoch) for epoch in epochs), default=0)
    places = np.arange(m, length - m + 1)
    if len(places) < least_places + m:
        return False, None, Evidence("an epoch is too short to tell the boundary from other places in it", "loss")
    returning = np.median(np.stack([moves[epoch.first + places] for epoch in epochs]), axis=0)
    spread = 1.4826 * float(np.median(np.abs(returning - np.median(returning))))
    usual = float(np.quantile(np.abs(returning), 0.95))
    said = f"the step at the boundary is {signed(level)}; those that return elsewhere in the epoch reach ±{number(usual, 2)}"
    evidence = Evidence(said, "loss", around(context.boundaries[at[0]]))
    if not abs(level) <= max(within * spread, usual):
        return False, None, evidence
    return True, _returning_share(np.array([excess(context.boundaries[k]) for k in at])), evidence


def _returning_share(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    """Part of the squares of the jumps that the median of the others predicts; None for a single one."""
    values = values[np.isfinite(values)]
    if len(values) < 2 or not (values**2).sum() > 0:
        return None
    rest = np.array([float(np.median(np.delete(values, k))) for k in range(len(values))])
    return float(np.clip(1 - ((values - rest) ** 2).sum() / (values**2).sum(), 0.0, 1.0))
