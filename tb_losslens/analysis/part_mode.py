"""A part of the model that goes into evaluation mode, or out of it, during the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.changes import planned_at
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.eval_mode import about_model, cannot_tell, model_modules, moved_inside
from tb_losslens.analysis.explain import around, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Evidence, Finding, Kind
from tb_losslens.analysis.text import percent, plural, signed, some
from tb_losslens.store.run import Run


def part_in_eval(context: Context) -> Finding | None:
    """The finding, None where no part changes its mode against the rest, or its changes show nothing.

    A part that goes into evaluation mode is a fault where the loss moves with it; one that comes out of it, or whose
    parameters are frozen or unfrozen at that row, is planned. Where the loss does not move, a part that goes in is said and
    not judged. A part that goes in more often than there are epochs is in both modes by design.
    """
    run = context.run
    mode = run.float("train_mode")
    into, out = _changes(mode)
    modules = model_modules(context)
    if not (into or out) or len(into) > len(context.epochs):
        return None
    planned = all(_trained_differently(run, row) for row in (into or out))
    rows = {*into, *out}
    at = tuple(b.index for b in context.boundaries if b.batch in rows)
    moved = bool(at) and jumps(context, at)
    inside = bool(moved_inside(context, rows))
    if not (moved or inside) and (planned or not into or modules == (0, 0)):
        return None
    kind: Kind = "planned" if planned or not into else "fault" if moved or inside else "benign"
    return _finding(context, sorted(into), sorted(out), at, kind, moved=moved, inside=inside)


def _finding(
    context: Context, into: Sequence[int], out: Sequence[int], at: tuple[int, ...], kind: Kind, *, moved: bool, inside: bool
) -> Finding:
    """`into` and `out` are the rows at which a part goes into evaluation mode and comes out of it, in order."""
    run, modules = context.run, model_modules(context)
    mode = run.float("train_mode")
    first = (into or out)[0]
    step = f"{run.step[first]:,}"
    part = (mode > 0) & (mode < 1)
    known = int(np.isfinite(mode).sum())
    steps = f"in {percent(int(part.sum()) / known)} of the training steps"
    goes = f"is in evaluation mode from step {step} on" if into else f"is in evaluation mode until step {step}"
    others = f", and comes out of it at step {some([int(run.step[row]) for row in out], 3)}" if into and out else ""
    evidence = [
        Evidence(
            f"`train_mode` goes from {mode[first - 1]:g} to {mode[first]:g} at step {step} (1 is all modules in training mode)",
            "train_mode",
            (max(0, first - 20), min(len(run), first + 20)),
        )
    ]
    against = []
    if moved:
        level = signed(typical_excess(context.boundaries[k] for k in at))
        said = f"the mode changes exactly at {plural(len(at), 'boundary')}, and the loss moves there by {level}"
        evidence.append(Evidence(said, "loss", around(context.boundaries[at[0]])))
    elif inside:
        evidence.append(Evidence("the loss moves where the mode changes inside an epoch", "loss"))
    elif at:
        against.append(Evidence(cannot_tell(context, at, harmless=False), "loss", around(context.boundaries[at[0]])))
    if kind == "planned" and into:
        evidence.append(Evidence("which parameters are trained changes there too, or a change was noted"))
    return Finding(
        "wrong_mode", kind, "possible" if kind == "benign" else "proved",
        "Part of the model in evaluation mode" if into else "Part of the model leaves evaluation mode",
        f"Part of the model {goes}{others}, {steps}.",
        detail="training_in_eval", score=0.95 if moved or inside else 0.4, boundaries=at,
        steps=tuple(int(run.step[row]) for row in (*into, *out)[:50]),
        share=share_against_rest(context, at) if moved else None, explains_jump=moved or inside,
        evidence=(*evidence, *about_model(modules)), against=tuple(against), advice=_advice(into=bool(into)),
        fix=(
            "for epoch in range(epochs):\n"
            f"    model.train()              # a part of it changes its mode at step {step}\n"
            "    # model.frozen.eval()      # only what is frozen on purpose, after `model.train()`\n"
            "    for x, y in train_loader:\n"
            "        ..."
        ),
        confirm=f"Print `[name for name, m in model.named_modules() if not m.training]` at step {step} and at the one before.",
    )  # fmt: skip


def _advice(*, into: bool) -> str:
    if into:
        return (
            "Look for a call of `eval()` on a part of the model that nothing takes back, and call `model.train()` where the "
            'epoch begins. If it is meant, note it: writer.note("statistics frozen", kind="config_change").'
        )
    return (
        "If this part is to train from here on, nothing is wrong. If it is frozen for good, `model.train()` has taken its "
        "`eval()` back: call it again after each `model.train()`."
    )


def _changes(mode: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Rows at which a part goes into evaluation mode while the rest trains, and rows at which all of it trains again."""
    before, after = mode[:-1], mode[1:]
    into = (before == 1) & (after > 0) & (after < 1)
    out = (before > 0) & (before < 1) & (after == 1)
    return [int(row) + 1 for row in np.flatnonzero(into)], [int(row) + 1 for row in np.flatnonzero(out)]


def _trained_differently(run: Run, row: int) -> bool:
    """True if other parameters are trained from `row` on, or a change was noted there."""
    if planned_at(run, row) is not None:
        return True
    settings = [e.fields.get("changes") for e in run.events if e.kind == "config_change" and abs(e.batch - row) <= 1]
    return any(_is_trained(str(name)) for changes in settings if isinstance(changes, Mapping) for name in changes)


def _is_trained(setting: str) -> bool:
    """True for a setting that says how many parameters are trained."""
    of_group = setting.startswith("optimizer group") and setting.endswith(("groups", "tensors"))
    return of_group or setting.startswith("trainable parameters")


def part_in_words(run: Run) -> str:
    """In how many steps a part of the model was in evaluation mode, and where that began or ended; "" where in none."""
    mode = run.float("train_mode")
    partly = int(((mode > 0) & (mode < 1)).sum())
    if not partly:
        return ""
    into, out = _changes(mode)
    said = f"in {plural(partly, 'step')} a part of the model did, "
    if len(into) + len(out) == 1:
        return said + (f"from step {run.step[into[0]]:,} on" if into else f"until step {run.step[out[0]]:,}")
    return said + (f"with {plural(len(into) + len(out), 'change')} of it" if into or out else "as frozen layers do")
