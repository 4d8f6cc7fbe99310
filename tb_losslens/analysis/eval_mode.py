"""Which training steps ran in evaluation mode, in words, and the code that sets the mode right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.text import plural
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
