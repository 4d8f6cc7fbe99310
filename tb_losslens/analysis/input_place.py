"""At which boundary a proved change of the inputs lies where epochs in between were not read, and if the loss shows it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.content import sample_weights
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.epoch_levels import levels, shifts
from tb_losslens.analysis.epoch_pool import Levels
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.input_name import INDICES, MAY_BE_OTHERS
from tb_losslens.analysis.input_proof import Proof
from tb_losslens.analysis.text import number, signed
from tb_losslens.analysis.whole import whole_rows


def loss_levels(context: Context) -> Levels:
    """Levels of the loss, epoch by epoch; NaN for epochs that lost batches."""
    run = context.run
    there = whole_rows(run, context.epochs, between=False)
    with np.errstate(invalid="ignore", over="ignore"):
        return levels(np.where(there, run.loss, np.nan), sample_weights(run), context.epochs)


def loss_rises(seen: Levels, *, beyond_others: float = 4.0) -> list[int]:
    """Boundaries at which the loss of whole epochs takes a step up and keeps it.

    Where batches are noisy a lasting rise is lost in the window around the boundary, and plain over whole epochs. A loss that
    is learned falls from one epoch to the next, which is no measure of a rise: it must be `beyond_others` times the typical
    other rise.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        move, stepping = np.diff(seen.middle), shifts(seen, least=0.0, beyond_others=0.0)
    out = []
    for k in stepping:
        others = np.delete(move, k)
        others = others[others > 0]
        later = seen.middle[k + 1 :]
        up = bool((later[np.isfinite(later)] > (seen.middle[k] + seen.middle[k + 1]) / 2).all())
        if move[k] > 0 and up and move[k] >= beyond_others * (float(np.median(others)) if len(others) else 0.0):
            out.append(k)
    return out


def placed(
    context: Context, known: Sequence[Proof], steps: Sequence[int], rises: Sequence[int]
) -> tuple[dict[int, list[Proof]], list[Proof]]:
    """(proofs by the boundary that they are of, those that leave several open).

    Of several boundaries it is the one at which something measured of the inputs moves or another proof stands, else the only
    one at which the loss stands out, else the only one at which the loss of whole epochs rises for good.
    """
    sure = {proof.between[0] for proof in known if len(proof.between) == 1}
    found: dict[int, list[Proof]] = {}
    left = []
    for proof in known:
        sharp = [k for k in proof.between if k in sure]
        inside = [k for k in proof.between if k in steps]
        loud = [k for k in proof.between if context.boundaries[k].significant]
        higher = [k for k in proof.between if k in rises]
        by_loss = loud if len(loud) == 1 else higher if not loud and len(higher) == 1 else []
        where = proof.between if len(proof.between) == 1 else sharp or inside or by_loss
        if where:
            found.setdefault(where[0], []).append(proof)
        else:
            left.append(proof)
    return found, left


def somewhere(context: Context, proof: Proof, seen: Levels) -> Finding:
    """A change that is proved, at one of several boundaries, where no loss (its levels are `seen`) tells at which."""
    first, last = proof.between[0], proof.between[-1]
    start, end = context.boundaries[first].step, context.boundaries[last].step
    with np.errstate(invalid="ignore", over="ignore"):
        moves = np.diff(seen.middle)[first : last + 1]
    most = f", by {signed(float(np.nanmax(moves)))} at most from one epoch to the next" if np.isfinite(moves).any() else ""
    quiet = f"no single boundary in between stands out in the loss, nor does its level rise for good at one{most}"
    against = [MAY_BE_OTHERS, Evidence(quiet, "loss")]
    noise = float(np.nanmax(seen.noise[first : last + 2])) if np.isfinite(seen.noise[first : last + 2]).any() else 0.0
    if noise > 0:
        against.append(Evidence(f"batches differ by {number(noise)} by themselves: a small effect cannot be told", "loss"))
    return Finding(
        "input_shift", "benign", "proved", "Inputs changed, effect not told",
        f"{INDICES} between boundaries {first + 1} and {last + 1}: {proof.evidence}.",
        detail=proof.detail, score=0.3, steps=(start,), explains_jump=False, evidence=(proof.evidence,),
        against=tuple(against),
        advice="Find what differs in the loading of the samples, or note the change if it is meant.",
        confirm=f"Load the samples of one batch before step {start} and after step {end}: they must be equal.",
    )  # fmt: skip
