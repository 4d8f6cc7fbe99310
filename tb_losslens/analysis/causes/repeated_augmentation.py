"""Each epoch draws the same random numbers as one before: the same augmentations, the same dropout masks, the same noise.

What it sees:
    States of the random generators of torch, numpy and Python at both ends of each epoch, and the seed that the workers of
    the loader began with; how many samples came back with another input.

Why it matters:
    Augmentation and dropout help because each pass is another one. A seed that is set in the loop over epochs, or a loader with
    a seeded generator that is built anew for each epoch, plays the same pass again: the net learns the noise by heart. The loss
    looks fine, or better; what suffers is the held-out loss.

How it decides:
    By equality. A generator begins an epoch in the state that an earlier epoch of the same process began with, and was drawn
    from in between. A generator that nobody drew from keeps its state, and a new process begins with the seed of its script:
    both are none. The workers of a new iterator began with the seed of earlier ones: proved where samples came back with
    another input in some epoch, so that they do draw; only possible where all came back equal in an order that repeats too;
    and harmless where they came back equal in another order, since then nothing is drawn. It is never why the loss jumps.

What to try:
    Set the seed once, before the first epoch; make the loader and its generator once; seed numpy in workers from
    `torch.initial_seed()`.

When it is wrong:
    A generator of the data set's own is not seen, nor is `numpy.random` that a `worker_init_fn` seeds with the number of the
    worker. An augmentation that is a function of the sample's index is meant to be the same, and draws from none of
    these. False-alarm rate: none, digests have 64 bits. The order of samples that repeats with it is `repeated_order`; inputs
    that stop changing are `input_shift`; another state after a restart is `resume_discontinuity`.

References:
    PyTorch documentation, Reproducibility and Randomness in multi-process data loading.
"""

from __future__ import annotations

from collections.abc import Sequence

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped, Strength
from tb_losslens.analysis.orders import order_key
from tb_losslens.analysis.random_states import WORKERS, Again, drawn_again, draws_of, random_states
from tb_losslens.analysis.text import percent, plural, some
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Epoch

ID = "repeated_augmentation"
REQUIRES: tuple[str, ...] = ("epoch",)
_LABELS = {"torch": "torch's generator", "numpy": "numpy's generator", "python": "Python's generator"}


def find(context: Context, *, changed: float = 0.05) -> Outcome:
    """One finding for all generators together, or what was compared.

    Args:
        context: the run.
        changed: part of the samples that came back with another input, from which on the loader draws random numbers.
    """
    epochs = context.epochs
    if len(epochs) < 2:
        return Skipped(ID, "the run has one epoch so far; two are needed to compare their random numbers", "")
    states = random_states(context.run, epochs)
    if sum(one is not None for one in states) < 2:
        return Skipped(ID, "the states of the random generators were not recorded", how_to_record("epoch"))
    again = drawn_again(states)
    generators = [one for one in again if one.name != WORKERS]
    workers = next((one for one in again if one.name == WORKERS), None)
    sure = _inputs_change(epochs, least=changed)
    if workers is not None and not sure and not generators and _equal_in_another_order(epochs, workers):
        said = f"the workers began {plural(len(workers.epochs), 'epoch')} with the seed of earlier ones, but samples came back"
        return Checked(ID, f"{said} with the same input in another order: nothing random is drawn there")
    if not again:
        drawn = draws_of(states)
        used = f"drawn from: {some(drawn)}" if drawn else "none was drawn from in the main process"
        return Checked(ID, f"no generator began an epoch in a state of before, in {plural(len(epochs), 'epoch')} ({used})")
    return _finding(context, again, strength="proved" if generators or sure else "possible")


def _finding(context: Context, again: Sequence[Again], *, strength: Strength) -> Finding:
    run, epochs = context.run, context.epochs
    places = sorted({k for one in again for k, _ in one.epochs})
    evidence = [_said(epochs, one) for one in again]
    compared = [epoch.fields for epoch in epochs if isinstance(epoch.fields.get("inputs_compared"), int)]
    total, changed = (sum(int(f.get(name) or 0) for f in compared) for name in ("inputs_compared", "inputs_changed"))
    if total:
        evidence.append(Evidence(f"{percent(changed / total)} of {total:,} samples that came back had another input"))
    if context.found("repeated_order") is not None:
        evidence.append(Evidence("the order of samples repeats as well: one seed in the loop does both", "sample_ids"))
    against = [Evidence("the same random numbers do not make a loss jump: this is a fault beside it", "loss")]
    if strength == "possible":
        against.append(Evidence("no sample came back with another input: whether the workers draw at all cannot be told"))
    names = [_label(one) for one in again]
    step = int(run.step[epochs[places[0]].first])
    of_all = f"{len(places):,} of {plural(len(epochs) - 1, 'epoch')}"
    return Finding(
        ID, "fault", strength, "Each epoch draws the same random numbers",
        f"{some(names).capitalize()} began {of_all} in a state that an earlier epoch began with: augmentation, dropout and "
        "noise that come from there are the same again.",
        detail="workers" if all(one.name == WORKERS for one in again) else "generators",
        score=0.6 if strength == "proved" else 0.3,
        boundaries=tuple(k - 1 for k in places if k - 1 < len(context.boundaries)),
        steps=tuple(int(run.step[epochs[k].first]) for k in places[:20]), explains_jump=False,
        evidence=tuple(evidence), against=tuple(against),
        advice="Set seeds once, before the first epoch, and make the loader and its generator once.",
        fix=_fix(again, step),
        confirm="Print `torch.initial_seed()` and one augmented sample at the begin of two epochs: the sample must differ.",
    )  # fmt: skip


def _label(again: Again) -> str:
    return "the workers' seed" if again.name == WORKERS else _LABELS.get(again.name, f"the generator of {again.name}")


def _said(epochs: Sequence[Epoch], again: Again) -> Evidence:
    k, first = again.epochs[0]
    count = f"{len(again.epochs):,} of {plural(again.known - 1, 'later epoch')}"
    if again.name == WORKERS:
        said = f"the workers of {count} began with the seed of an earlier epoch, first epoch {epochs[k].epoch} with that of"
        return Evidence(f"{said} epoch {epochs[first].epoch}")
    said = f"{_label(again)} began {count} in the state of an earlier one, and was drawn from in between; first epoch"
    return Evidence(f"{said} {epochs[k].epoch} as epoch {epochs[first].epoch}")


def _inputs_change(epochs: Sequence[Epoch], *, least: float) -> bool:
    """True if in two epochs or more samples came back with another input: what loads them draws random numbers."""
    count = 0
    for epoch in epochs:
        compared, changed = (epoch.fields.get(name) for name in ("inputs_compared", "inputs_changed"))
        if isinstance(compared, int) and isinstance(changed, int) and compared:
            count += changed >= least * compared
    return count > 1


def _equal_in_another_order(epochs: Sequence[Epoch], again: Again) -> bool:
    """True if with the same seed of the workers another order brought the same inputs, sample by sample."""
    for k, first in again.epochs:
        left, right = order_key(epochs[first]), order_key(epochs[k])
        fields = epochs[k].fields
        if left and right and left != right and fields.get("inputs_compared") and not fields.get("inputs_changed"):
            return True
    return False


def _fix(again: Sequence[Again], step: int) -> str:
    names = {one.name for one in again}
    out = [f"# once, before the first epoch; at step {step} they were set anew"]
    out += ["torch.manual_seed(0)"] if any(name == "torch" or name.startswith("cuda") for name in names) else []
    out += ["numpy.random.seed(0)"] if "numpy" in names else []
    out += ["random.seed(0)"] if "python" in names else []
    if WORKERS in names:
        out += [
            "generator = torch.Generator().manual_seed(0)",
            "train_loader = DataLoader(train_set, ..., generator=generator)     # not in the loop over epochs",
        ]
    return "\n".join(out)
