"""A validation leaves its own weights in the model, and the training goes on from them.

What it sees:
    Checksums of all parameters at the end of an epoch, at both ends of each validation and at the begin of the next epoch;
    steps of the optimisers in between; the losses of fixed batches, where a probe is set.

Why it matters:
    To validate averaged or older weights is good practice, but they have to be put back. If not, the training goes on from
    other weights than it had reached, with the moments of an optimiser that belong to the old ones, and the loss moves there.

How it decides:
    By equalities of bits. The epoch begins with other weights than the one before ended with, no optimiser stepped in between,
    and they are those that a validation in between ran or ended with. Where they changed between its two ends, or a state was
    loaded there, it is a fault; where other code changed them before it, it is one only if the loss moves. Inside an epoch
    only a change between the two ends of an announced validation at which the loss clearly moves counts, as likely. It
    explains the jump where the loss moves at the same boundary, by as much as the probe tells.

What to try:
    Put the weights back in a `finally`, or validate a copy of the model.

When it is wrong:
    Weights that are swapped in and put back before the next step are fine, and are counted as such. Weights of an earlier end
    of an epoch are older ones that somebody loaded, and a change by other code that the loss does not show is said by
    `resume_discontinuity`. Pruning or averaging on purpose before a validation looks the same: note it as a `config_change`.
    False-alarm rate: none on checksums that are recorded right.

References:
    Tarvainen and Valpola, Mean teachers, 2017. Izmailov et al., Averaging Weights, 2018. PyTorch, `torch.optim.swa_utils`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.changes import planned_at
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.cuts import measure_rows
from tb_losslens.analysis.explain import (
    around,
    boundaries_that_jump,
    clear_where_named,
    jumps,
    share_against_rest,
    typical_excess,
)
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Kind, Skipped
from tb_losslens.analysis.probe_looks import moves
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import percent, plural, signed, some
from tb_losslens.analysis.validation_weights import Swap, looked_at
from tb_losslens.analysis.weight_records import recorded_weights

ID = "weights_swapped"
REQUIRES: tuple[str, ...] = ()

_WATCH = "writer.watch(model, optimizer, criterion=criterion)"
_WRAP = 'val_loader = writer.wrap(val_loader, split="val")'


def find(context: Context, *, least_part: float = 0.3, most_steps: int = 50) -> Outcome | list[Outcome]:
    """One finding for boundaries, one for validations inside epochs, else what was compared.

    Args:
        context: the run and its measurement.
        least_part: part of the jump that the loss of the probe's batch must move by to explain it.
        most_steps: bounds `Finding.steps`.
    """
    run = context.run
    if not any(event.ends_validation for event in run.events):
        return Skipped(ID, "no validation was recorded", _WRAP)
    if not recorded_weights(run):
        return Skipped(ID, "needs checksums of the weights, which were not recorded", _WATCH)
    looked = looked_at(run)
    rows = {b.batch: b.index for b in context.boundaries}
    at = [swap for swap in looked.swaps if swap.boundary and swap.row in rows]
    found: list[Outcome] = []
    finding = _at_boundaries(context, at, looked.compared, least_part=least_part, most_steps=most_steps) if at else None
    found += [finding] if finding is not None else []
    inner = _inside(context, [swap for swap in looked.swaps if not swap.boundary])
    if inner is not None:
        found.append(inner)
    if found:
        return found
    if at:
        where = f"boundar{'y' if len(at) == 1 else 'ies'} {some([rows[swap.row] + 1 for swap in at], 8)}"
        return Checked(ID, f"at {where} weights changed before a validation and stayed so, which the loss does not show")
    back = f"; {plural(looked.put_back, 'validation')} ran with other weights, which were put back" if looked.put_back else ""
    said = f"the weights after a validation are those from before it, at {plural(looked.compared, 'boundary')}"
    return Checked(ID, said + back)


def _at_boundaries(
    context: Context, swaps: Sequence[Swap], compared: int, *, least_part: float, most_steps: int
) -> Finding | None:
    run = context.run
    rows = [swap.row for swap in swaps]
    at = tuple(b.index for b in context.boundaries if b.batch in rows)
    level = typical_excess(context.boundaries[k] for k in at)
    probe = moves(run, rows)
    moved, share = _effect(context, at, level, probe, least_part)
    sure = any(swap.inside or swap.loaded for swap in swaps)
    if not (moved or sure):
        return None
    where = f"boundar{'y' if len(at) == 1 else 'ies'} {some([k + 1 for k in at], 8)}"
    inside = sum(swap.inside for swap in swaps)
    loaded = sum(swap.loaded for swap in swaps)
    how = "changed inside it" if inside == len(swaps) else "were there from its begin on"
    evidence = [
        Evidence(
            f"at {where} the epoch begins with the weights that a validation ended with (checksum {swaps[0].after} at the "
            f"first), not with those that the epoch before ended with ({swaps[0].before}); they {how}"
        ),
        Evidence(f"the optimiser took no step in between; {compared:,} boundaries with a validation were compared"),
    ]
    if loaded:
        evidence.append(Evidence(f"`load_state_dict` was called on the model at {loaded} of them, and not again with the old"))
    against = []
    if probe:
        by = signed(median(np.array(probe)))
        said = f"by experiment ({plural(len(probe), 'boundary')}), the loss of the same training batch moves by {by}"
        part = f", {percent(share)} of the jump" if share is not None else ""
        evidence.append(Evidence(f"{said} from the end of an epoch to the begin of the next{part}"))
    if moved:
        evidence.append(Evidence(f"the loss moves there by {signed(level)}", "loss", around(context.boundaries[at[0]])))
    else:
        against.append(Evidence("whether the loss moves for it cannot be told: cuts inside the epochs move as well", "loss"))
    if not sure:
        against.append(Evidence("other code may have changed them on purpose before the validation, as pruning does"))
    kind: Kind = "planned" if all(planned_at(run, row) is not None for row in rows) else "fault"
    text = f"At {where} the training goes on from the weights that a validation ran with, not from its own."
    return Finding(
        ID, kind, "proved", "A validation left its weights in the model", text,
        detail="inside" if inside == len(swaps) else "kept", score=0.95 if moved else 0.7, boundaries=at,
        steps=tuple(int(run.step[row]) for row in rows[:most_steps]), share=share, explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against), advice=_ADVICE, fix=_FIX.format(step=f"{run.step[rows[0]]:,}"),
        confirm="Sum the parameters right before and right after the validation: the sums must be equal.",
    )  # fmt: skip


def _effect(
    context: Context, at: tuple[int, ...], level: float, probe: Sequence[float], least_part: float
) -> tuple[bool, float | None]:
    """(the swap is why the loss moves there, its part of the jump or None)."""
    every = len(at) == len(context.boundaries)
    named = [k for k in at if any(clear_where_named(context, k, sign, tests=2 * len(at)) for sign in (1, -1))]
    moves = jumps(context, at) or (bool(named) and not every)
    if probe and math.isfinite(level) and level != 0:
        part = median(np.array(probe)) / level
        return moves and part >= least_part, float(np.clip(part, 0.0, 1.0)) if moves and part >= least_part else None
    # a fall at every boundary is what known samples do as well
    moved = moves and not (every and level < 0)
    return moved, share_against_rest(context, at) if moved else None


_ADVICE = (
    "Put the weights of the training back after each validation, in a `finally`, so that an exception does not leave the "
    "others; or validate a copy of the model."
)
_FIX = (
    "own = copy.deepcopy(model.state_dict())\n"
    "try:\n"
    "    model.load_state_dict(averaged.state_dict())\n"
    "    validate(model, val_loader)\n"
    "finally:\n"
    "    model.load_state_dict(own)     # was missing before step {step}"
)


def _inside(context: Context, swaps: Sequence[Swap], *, most: int = 20) -> Finding | None:
    """Validations inside epochs that change the weights, at which the loss clearly moves."""
    run = context.run
    boundaries = [b.batch for b in context.boundaries]
    reach = max(50, len(run) // max(len(context.epochs), 1))
    rows = sorted({swap.row for swap in swaps} - set(boundaries))[:most]
    clear = [cut for cut in measure_rows(run.loss, rows, reach=reach, others=boundaries_that_jump(context)) if cut.clear]
    if not clear:
        return None
    first = clear[0]
    step = f"{run.step[first.row]:,}"
    probe = moves(run, [cut.row for cut in clear], first="before_validation", last="after_validation")
    level = median(np.array([cut.excess for cut in clear]))
    tested = []
    if probe and level != 0:
        part = float(np.clip(median(np.array(probe)) / level, 0.0, 1.0))
        said = f"by experiment, the loss of the same training batch moves by {signed(median(np.array(probe)))} during it"
        tested.append(Evidence(f"{said}, {percent(part)} of that"))
    return Finding(
        ID, "fault", "likely", "A validation inside an epoch changed the weights",
        f"The weights at the end of the validation before step {step} are not those at its begin, and the loss moves there by "
        f"{signed(first.excess)}.",
        detail="inside", score=0.8, steps=tuple(int(run.step[cut.row]) for cut in clear), explains_jump=True,
        evidence=(
            Evidence(f"the checksums at both ends differ in {plural(len(rows), 'validation')}, without a row trained between"),
            Evidence(
                f"at step {step} the loss moves by {signed(first.excess)}", "loss", (first.row - first.m, first.row + first.m)
            ),
            *tested,
        ),
        advice=_ADVICE, fix=_FIX.format(step=step),
        confirm="Sum the parameters right before and right after the validation: the sums must be equal.",
    )  # fmt: skip
