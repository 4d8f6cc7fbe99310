"""Which training steps ran in evaluation mode, what the loss does there, and the code that sets the mode right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.cuts import Cut, measure_rows
from tb_losslens.analysis.explain import boundaries_that_jump
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import plural, signed
from tb_losslens.store.run import Run

INSIDE = "The epoch begins in training mode, and something inside it sets eval mode: set the mode back right there."


def eval_where(run: Run, mode: NDArray[np.float64], inside: tuple[int, int, int] | None) -> str:
    """The steps with mode 0 in words; `inside` as `inside_epochs` gives it, `mode` of shape (n,)."""
    off = np.flatnonzero(mode == 0)
    first, last = int(off[0]), int(off[-1])
    if inside:
        return f"in batches {inside[0] + 1:,} to {inside[1] + 1:,} of {plural(inside[2], 'epoch')}"
    if len(off) == 1:
        return f"at step {run.step[first]:,}"
    if not (mode[first:] > 0).any():
        return f"from step {run.step[first]:,} on"
    broken = ", with others between" if (mode[first:last] > 0).any() else ""
    return f"from step {run.step[first]:,} to {run.step[last]:,}{broken}"


def inside_epochs(context: Context, mode: NDArray[np.float64]) -> tuple[int, int, int] | None:
    """(first batch, last batch, epochs) of the training steps with mode 0 where each such epoch begins in training mode.

    The loop sets the mode at the top of the epoch then, and something inside the epoch takes it back. None where one epoch does
    not, or its mode was not read.
    """
    spans = []
    for epoch in context.epochs:
        rows = np.flatnonzero(mode[epoch.first : epoch.last] == 0)
        if len(rows):
            if not mode[epoch.first] > 0:
                return None
            spans.append((int(rows[0]), int(rows[-1])))
    if not spans:
        return None
    return min(a for a, _ in spans), max(b for _, b in spans), len(spans)


def mode_fix(where: str, *, inside: bool) -> str:
    """Code that sets the mode: around what changes it `inside` the loop over batches, else at the top of the epoch."""
    if inside:
        return (
            f"# around what sets the mode inside the loop over batches; the model was in eval mode {where}\n"
            "was_training = model.training\n"
            "model.eval()\n"
            "with torch.no_grad():\n"
            "    validate(model, val_loader)\n"
            "model.train(was_training)"
        )
    return (
        "for epoch in range(epochs):\n"
        f"    model.train()          # the model was in eval mode {where}\n"
        "    for x, y in train_loader:\n"
        "        ...\n"
        "    model.eval()\n"
        "    with torch.no_grad():\n"
        "        validate(model, val_loader)"
    )


def model_modules(context: Context) -> tuple[int, int] | None:
    """(dropout, batch normalisation) modules of the model, None if unknown."""
    model = context.run.facts.get("model")
    if not isinstance(model, dict) or not {"dropout", "batchnorm"} <= set(model):
        return None
    return int(model["dropout"]), int(model["batchnorm"])


def about_model(modules: tuple[int, int] | None) -> list[Evidence]:
    """What the model has that acts differently in the two modes; empty if unknown."""
    if modules is None:
        return []
    if not any(modules):
        return [Evidence("the model has no dropout (p > 0) and no batch normalisation, so the mode makes no difference to it")]
    names = ("dropout module", "batch normalisation module")
    parts = [plural(n, name) for n, name in zip(modules, names, strict=True) if n]
    return [Evidence(f"the model has {' and '.join(parts)}, which act differently in the two modes")]


def cannot_tell(context: Context, at: tuple[int, ...], *, harmless: bool) -> str:
    """A boundary that does not stand out says how large an effect of the mode could be and stay unseen."""
    chosen = [context.boundaries[k] for k in at]
    changes = f"the mode changes at {plural(len(at), 'boundary')}, and the loss moves there by"
    moved = f"{changes} {signed(median(np.array([b.jump for b in chosen])))}"
    low, high = (median(np.array([getattr(b, name) for b in chosen])) for name in ("placebo_low", "placebo_high"))
    if harmless or not np.isfinite(low + high):
        return f"{moved}, which is not beyond noise"
    return f"{moved}; cuts nearby move by {signed(low)} to {signed(high)}, so an effect within that range cannot be told"


def moved_inside(context: Context, changes: set[int], *, most: int = 20) -> list[Cut]:
    """The first `most` changes of mode inside an epoch at which the loss clearly moves."""
    boundaries = [b.batch for b in context.boundaries]
    reach = max(50, len(context.run) // max(len(context.epochs), 1))
    rows = sorted(changes - set(boundaries))[:most]
    cuts = measure_rows(context.run.loss, rows, reach=reach, others=boundaries_that_jump(context))
    return [cut for cut in cuts if cut.clear]


def flips(mode: NDArray[np.float64]) -> set[int]:
    """Rows whose mode is 0 where the row before has another, or the other way round."""
    before, after = mode[:-1], mode[1:]
    change = ((before == 0) != (after == 0)) & np.isfinite(before) & np.isfinite(after)
    return {int(row) + 1 for row in np.flatnonzero(change)}
