"""What is said of dropout or weight decay that is raised at a boundary."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import around, clear_where_named, excess, share_against_rest
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.lr_steps import lr_steps
from tb_losslens.analysis.regularization import Raise, setting_code, shrunk
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import number, plural, signed, some, times

_WORDS = {"dropout": "dropout", "weight_decay": "weight decay"}


def raised_report(
    context: Context, cause: str, kind: str, item: Raise, *, least: int = 2, fell: float = 0.9
) -> Finding | None:
    """The finding for a rate that was raised at a boundary; None where the loss does not show it, or something else may be why.

    Args:
        context: the run and its measurement.
        cause: id of the cause that reports it.
        kind: "dropout" or "weight_decay".
        item: what was raised, and where.
        least: epochs on either side for a level that lasts.
        fell: norm of the weights after the change that a weight decay must bring them down to.
    """
    boundary, run = item.boundary, context.run
    known = [o for o in context.earlier if isinstance(o, Finding) and o.explains_jump and o.kind != "benign"]
    taken = {k for o in known for k in o.boundaries}
    moved_lr = any(abs(step.row - boundary.batch) <= 1 for step in lr_steps(context))
    if not item.alone or boundary.index in taken or moved_lr:
        return None
    jumps = excess(boundary) > 0 and (boundary.significant or clear_where_named(context, boundary.index, 1, tests=2))
    lasts = _lies_higher(context, boundary.index, least=least)
    if not jumps and not lasts:
        return None
    what, values = _WORDS[kind], f"{number(item.old)} -> {number(item.new)}"
    at = f"at boundary {boundary.index + 1} (step {boundary.step:,})"
    evidence = [Evidence(f"{what} {values} {at}, in {plural(len(item.keys), 'setting')}: {some(item.keys, 3)}")]
    left = shrunk(run, boundary.batch) if kind == "weight_decay" else math.nan
    if math.isfinite(left):
        if left > fell:
            return None  # the decay has done next to nothing to the weights
        evidence.append(Evidence(f"from there on the norm of the weights goes to {times(left)}", "weight_norm"))
    if jumps:
        size = f"{number(abs(boundary.z), 2)}× the noise beside it"
        evidence.append(Evidence(f"the loss jumps by {signed(boundary.jump)} there, {size}", "loss", around(boundary)))
    if lasts:
        evidence.append(Evidence(lasts, "loss"))
    others = [b.index + 1 for b in context.boundaries if b.significant and excess(b) > 0 and b.index != boundary.index]
    against = [Evidence(f"the loss jumps up at boundaries {some(others)} as well, without such a change")] if others else []
    rises = f"jumps up by {signed(boundary.jump)} with it" if jumps else "is higher in each epoch after it"
    return Finding(
        cause, "fault", "proved" if jumps and not others else "likely", f"{what.capitalize()} raised at a boundary",
        f"{what.capitalize()} goes from {number(item.old)} to {number(item.new)} {at}, and the loss {rises}.",
        detail=f"{kind}_changed", score=0.9 if jumps else 0.6, boundaries=(boundary.index,), steps=(boundary.step,),
        share=share_against_rest(context, [boundary.index]) if jumps else None, explains_jump=jumps,
        evidence=tuple(evidence), against=tuple(against),
        advice=f"Leave {what} at {number(item.old)}, or raise it step by step over some epochs. Where it was meant, note it: "
        "levels before and after it are not comparable.",
        fix=setting_code(kind, item.old, f"it became {number(item.new)} at step {boundary.step:,}"),
        confirm=f"Train epoch {boundary.epoch} again with {what} at {number(item.old)}: the loss goes on as before.",
    )  # fmt: skip


def _lies_higher(context: Context, k: int, *, least: int, errors: float = 4.0) -> str:
    """That the median of each epoch after boundary `k` lies above each of the three before it, in words; "" if not so.

    The two sides must differ by `errors` standard errors of a median over an epoch, too.
    """
    chosen = context.epochs[max(0, k - 2) :]
    levels = np.array([median(context.run.loss[e.first : e.last]) for e in chosen])
    before, after = levels[: min(k, 2) + 1], levels[min(k, 2) + 1 :]
    if min(len(before), len(after)) < least or not np.isfinite(levels).all():
        return ""
    error = 1.25 * context.noise * math.sqrt(2 / min(len(e) for e in chosen))
    if not after.min() > before.max() or not median(after) - median(before) > errors * error:
        return ""
    higher, lower = number(float(after.min())), number(float(before.max()))
    return f"the median loss of each epoch after it is {higher} or more, of those right before it {lower} or less"
