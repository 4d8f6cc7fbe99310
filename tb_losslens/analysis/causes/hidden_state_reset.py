"""A recurrent state that is carried from batch to batch begins anew, and the loss is high until the net has it again.

What it sees:
    `hidden_norm`, the norm of the state that a batch begins with; validations, the ids of the samples, and the loss there.

Why it matters:
    A net that carries its state has context from all batches before. Where the state begins with zeros, the first predictions
    have none, so that the loss jumps up and comes back as fast as the net remembers. At the begin of a text that is as it
    must be. In the middle of one it throws away what was known, and the loss that is minimised there is another one.

How it decides:
    By equality: a norm of exactly 0, or that of the first batch of the run to the last bit, or no state where the batches
    beside it have one; while half of all others have one. At the begin of an epoch it is benign, since a pass begins with
    another text than the one before ended with; a fault where the ids say that the first sample of the epoch follows the last
    one of the epoch before, at each of these boundaries. Inside epochs it is a fault where a validation ended right before most
    of these batches (it used the state of the training), else it is benign: another text may begin there. It explains the jump
    where the loss moves up at these boundaries, or by a test of ranks at these batches; in the second half of the training,
    where there are enough: before anything is remembered nothing can be forgotten.

What to try:
    Carry the state over where the text goes on, and give a validation a state of its own. At the begin of a text leave it.

When it is wrong:
    Whether a text goes on is known by the ids only. A state that begins with something learned is not seen; nor is one that is
    recorded after the step. At the begin of an epoch the text is another one as well, which has a jump of its own: a run that
    keeps its state tells the two apart. False-alarm rate: none where the norm is recorded right.

References:
    Mikolov et al., Recurrent neural network based language model, 2010. Merity et al., Regularizing and Optimizing LSTM
    Language Models, 2018.
"""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import around, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding
from tb_losslens.analysis.hidden_resets import Resets, resets, rises_at
from tb_losslens.analysis.outliers import Rows
from tb_losslens.analysis.text import number, percent, plural, signed
from tb_losslens.store.run import Run

ID = "hidden_state_reset"
REQUIRES: tuple[str, ...] = ("hidden_norm",)


def find(context: Context, *, carried: float = 0.5, most: float = 0.5, least: int = 2) -> Outcome | list[Outcome]:
    """One finding for the begins of epochs, one for batches inside them, else what was looked at.

    Args:
        context: the run and its measurement.
        carried: part of the batches inside epochs that must have a state of their own.
        most: part of the resets inside epochs right after a validation, above which the validation did it.
        least: resets inside epochs from which on they are told.
    """
    run = context.run
    seen = resets(run)
    if seen is None:
        known = int(np.isfinite(run.float("hidden_norm")).sum())
        return Checked(ID, f"the state is known of {plural(known, 'batch')}, which do not tell if it is carried on")
    if seen.carried < carried:
        return Checked(ID, f"{percent(1 - seen.carried)} of the batches inside epochs begin anew: no state is carried on")
    found: list[Outcome] = []
    if len(seen.at_begin):
        found.append(_at_begin(context, seen))
    if len(seen.inside) >= least:
        found.append(_inside(run, seen, most))
    if found:
        return found
    begins = plural(len(seen.kept), "epoch")
    return Checked(ID, f"the state is carried on into {begins}, with a norm of {number(seen.norm)}, and is never set back")


def _goes_on(context: Context, rows: Rows) -> bool:
    """True if the first sample of each of these epochs follows the last one of the epoch before."""
    pairs = zip(context.epochs, context.epochs[1:], strict=False)
    ids = [(a.fields.get("last_ids"), b.fields.get("first_ids")) for a, b in pairs if b.first in set(rows.tolist())]
    return bool(ids) and all(_follow(last, first) for last, first in ids)


def _follow(last: object, first: object) -> bool:
    if not (isinstance(last, list | tuple) and isinstance(first, list | tuple) and last and first):
        return False
    return isinstance(last[-1], int) and isinstance(first[0], int) and first[0] == last[-1] + 1


def _how(seen: Resets, rows: Rows) -> str:
    what = "is exactly 0" if seen.zero else "is that of the first batch of the run, or none is given,"
    return f"the norm of the incoming state {what} at {plural(len(rows), 'batch')}, and {number(seen.norm)} in the others"


def _memory(seen: Resets) -> list[Evidence]:
    if seen.memory is None:
        return []
    said = f"it takes {plural(seen.memory, 'batch')} until the norm is back at {percent(0.9)} of that"
    return [Evidence(said, "hidden_norm")]


def _late(context: Context, at: tuple[int, ...], *, least: int = 4) -> tuple[int, ...]:
    """Those of the boundaries `at` in the second half of the training, where there are `least`; else all of them.

    Before anything is remembered nothing can be forgotten, and a recurrent net may need half of its training for that.
    """
    late = tuple(k for k in at if 2 * context.boundaries[k].batch >= len(context.run))
    return late if len(late) >= least else at


def _at_begin(context: Context, seen: Resets) -> Finding:
    run, rows = context.run, seen.at_begin
    at = tuple(b.index for b in context.boundaries if b.batch in set(rows.tolist()))
    judged = _late(context, at)
    level = typical_excess(context.boundaries[k] for k in judged)
    moved = bool(at) and jumps(context, judged) and level > 0
    goes_on = _goes_on(context, rows)
    first = int(rows[0])
    evidence = [Evidence(_how(seen, rows), "hidden_norm", (max(0, first - 5), first + 5)), *_memory(seen)]
    against = []
    if moved:
        one = max((context.boundaries[k] for k in at), key=lambda b: b.z)
        evidence.append(
            Evidence(f"the loss moves there by {signed(level)}, by {signed(one.jump)} at the most", "loss", around(one))
        )
        if not goes_on:
            against.append(Evidence("the text is another one there as well, which may have a jump of its own"))
    else:
        against.append(Evidence("the loss moves there no more than at other cuts, or falls", "loss"))
    if len(seen.kept):
        evidence.append(Evidence(f"at {plural(len(seen.kept), 'other epoch')} it is carried on"))
    if goes_on:
        evidence.append(Evidence(f"the first sample of each of {plural(len(rows), 'epoch')} follows the last one before it"))
    every = "each epoch" if not len(seen.kept) else f"{plural(len(rows), 'epoch')} of {len(rows) + len(seen.kept)}"
    return Finding(
        ID, "fault" if goes_on else "benign", "proved", "The recurrent state begins anew with the epoch",
        f"At the begin of {every} the state of the net is set back, though it is carried from batch to batch"
        + (" and the text goes on." if goes_on else ": the first predictions have no context, as at the begin of a text."),
        detail="stream_goes_on" if goes_on else "epoch_begin", score=0.9 if moved else 0.4, boundaries=at,
        steps=tuple(int(s) for s in run.step[rows[:50]]), share=share_against_rest(context, at) if moved else None,
        explains_jump=moved, evidence=tuple(evidence), against=tuple(against),
        advice="Carry the state on into the next epoch, since the text goes on there."
        if goes_on
        else "Nothing to fix where an epoch begins a text. Leave the first batches out of a comparison of epochs, or keep the "
        "state where the text goes on.",
        fix=_CARRY.format(step=f"{int(run.step[first]):,}") if goes_on else "",
        confirm="Keep the state over one boundary: a jump that was the missing context is gone, one of the text stays.",
    )  # fmt: skip


_CARRY = (
    "hidden = None                      # once, before the first epoch; it was set back at step {step} too\n"
    "for epoch in range(epochs):\n"
    "    for x, y in train_loader:\n"
    "        output, hidden = model(x, hidden)\n"
    "        hidden = tuple(h.detach() for h in hidden)"
)


def _inside(run: Run, seen: Resets, most: float) -> Finding:
    rows = seen.inside
    of_validation = len(seen.validated) > most * len(rows)
    moved, size = rises_at(run, rows)
    first = int(rows[0])
    evidence = [Evidence(_how(seen, rows), "hidden_norm", (max(0, first - 5), first + 5)), *_memory(seen)]
    if of_validation:
        said = f"a validation ended right before {len(seen.validated):,} of these {plural(len(rows), 'batch')}"
        evidence.append(Evidence(said))
    against = []
    if moved:
        evidence.append(Evidence(f"the loss of these batches lies {signed(size)} above the five before, in the middle", "loss"))
    else:
        against.append(Evidence("the loss of these batches is not known to lie above that before them", "loss"))
    if not of_validation:
        against.append(Evidence("another text may begin at these batches, where this is as it must be"))
    return Finding(
        ID, "fault" if of_validation else "benign", "proved",
        "A validation sets the recurrent state back" if of_validation else "The recurrent state begins anew inside epochs",
        f"In {plural(len(rows), 'batch')} inside epochs, first at step {int(run.step[first]):,}, the state begins anew"
        + (" after a validation, in the middle of what is trained on." if of_validation else "; elsewhere it is carried on."),
        detail="validation" if of_validation else "inside", score=0.8 if moved else 0.4,
        steps=tuple(int(s) for s in run.step[rows[:50]]), explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against),
        advice="Give the validation a state of its own, and go on with that of the training."
        if of_validation
        else "Nothing to fix where a text begins; in the middle of one, keep the state.",
        fix=(
            "own = hidden                       # of the training\n"
            "validate(model, val_loader, hidden=None)\n"
            f"hidden = own                       # was lost at step {int(run.step[first]):,}"
        ) if of_validation else "",
        confirm="Print the norm of the state right before and after the validation: it must be the same."
        if of_validation
        else "Compare these steps with the begins of your texts: they must be the same.",
    )  # fmt: skip
