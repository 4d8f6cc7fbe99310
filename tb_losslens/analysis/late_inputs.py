"""Inputs that change where hardly a batch is read but those with an unusual loss: what these few can tell."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.input_levels import InputLevels, Moved, input_levels, moved
from tb_losslens.analysis.known import by_turn, is_known
from tb_losslens.analysis.text import plural
from tb_losslens.store.run import Epoch, Run


def late_inputs(
    run: Run, epochs: tuple[Epoch, ...], *, least: float, in_a_row: int = 5, chance: float = 1e-4
) -> tuple[InputLevels, Moved] | None:
    """Levels from all batches that were read, and the first boundary since which each of them lies on another one; or None.

    Batches with an unusual loss are a selection: of rare bad batches they would be just the bad ones. They count where there
    was no choice: the first batches after the boundary were read one after the other, or batches read in turn say the same.

    Args:
        run: the run.
        epochs: its passes.
        least: smallest move of the mean in spreads, or of the spread as a part of itself.
        in_a_row: batches from the boundary on that leave no choice.
        chance: or so many in turn that they are the farthest of all by chance no more often than this.
    """
    levels = input_levels(run, epochs, all_read=True)
    if not levels.unit > 0:
        return None
    steps = moved(levels, least=least)
    known, turn = is_known(run, "input_mean"), by_turn(run)
    mean = run.float("input_mean")
    for k in steps.means:
        start = epochs[k + 1].first
        far = known & (np.abs(mean - levels.means.middle[k + 1]) < np.abs(mean - levels.means.middle[k]))
        if far[:start].any() or (known & ~far)[start:].any():
            continue
        of_turn = int((known & turn)[start:].sum())
        if known[start : start + in_a_row].all() or 1 / math.comb(int((known & turn).sum()), of_turn) <= chance:
            return levels, Moved((k,), tuple(j for j in steps.logs if j == k), (), {})
    return None


def how_many_read(run: Run, start: int) -> tuple[Evidence, bool]:
    """What was read since row `start`, as a sentence, and whether that reaches beyond one epoch."""
    rows = start + np.flatnonzero(is_known(run, "input_mean")[start:])
    reached = sum(bool(((rows >= epoch.first) & (rows < epoch.last)).any()) for epoch in run.epochs)
    said = f"{len(rows):,} of {plural(len(run) - start, 'batch')} were read since, each on the new level"
    if not len(rows):
        return Evidence("no batch was read since", "input_mean"), False
    end = "" if reached > 1 else f", none after step {int(run.step[rows[-1]]):,}: whether it stays so is not known"
    return Evidence(said + end, "input_mean", (start, int(rows[-1]) + 1)), reached > 1
