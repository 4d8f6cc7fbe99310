"""The optimiser begins anew in the middle of the training: its moments and its count of steps are lost.

What it sees:
    The optimiser's own count of steps, for how many parameters it has state, and the norms of its moments: at the end of each
    epoch, at the begin of the next, and at the steps that were looked into. Optimisers that take the place of another one.

Why it matters:
    Adam divides by the size that gradients had so far. Without that memory its first steps are as long as the LR allows, in
    every parameter, whatever the gradient: the loss leaps and takes as long to come back as the moments take to fill.
    Momentum that is lost makes the first steps too short instead.

How it decides:
    By equality: no state, a smaller count or moments of 0 where the epoch before ended with more; a count that begins at 1
    again and does not exceed the old one by the end of the epoch; another optimiser of the same class and as many parameters,
    without state at its first step. Several such places, or one without any other change beside it, are a fault. One with a
    restore, a jump of the step, another model or a new scheduler is a resume that lost the state
    (`resume_discontinuity`); one with other settings changed is one of a set (`planned_change`). It explains the
    jump where the loss moves at the same boundary: up, or for momentum alone either way.

What to try:
    Build the optimiser once, before the loop over epochs; change `param_groups` instead of building another one.

When it is wrong:
    Plain SGD remembers nothing: that it was built anew cannot be told and does no harm. Parameters that join later have a
    smaller count, which is none. An optimiser that is restarted on purpose, as between the stages of some methods, looks the
    same: note it as a `config_change`. False-alarm rate: none on states that are recorded right.

References:
    Kingma and Ba, Adam, 2015, sections 2 and 3. PyTorch documentation, `torch.optim.Optimizer.state_dict`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_losslens.analysis.changes import planned_at
from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.cuts import measure_rows
from tb_losslens.analysis.explain import around, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.optimizer_records import Memory, Reset, in_words, memory, recorded_states
from tb_losslens.analysis.optimizer_resume import changed_beside, resumed_with
from tb_losslens.analysis.stats import finite, median
from tb_losslens.analysis.text import number, plural, signed, some
from tb_losslens.store.run import Run

ID = "optimizer_reset"
REQUIRES: tuple[str, ...] = ()

_WATCH = "writer.watch(model, optimizer, criterion=criterion)"


def find(context: Context, *, most_steps: int = 50, raised: float = 1.1) -> Outcome:
    """One finding for all places, or how much was compared.

    Args:
        context: the run and its measurement.
        most_steps: bounds `Finding.steps`.
        raised: an LR that is multiplied by more than this at each place may be why the loss moves.
    """
    run = context.run
    if not recorded_states(run):
        return Skipped(ID, "needs the state of the optimiser at the ends of epochs, which was not recorded", _WATCH)
    known = memory(run)
    if not known.resets:
        return Checked(ID, _fine(context, known.compared, known.classes))
    rows = sorted({reset.row for reset in known.resets})
    if len(rows) == 1:
        why = resumed_with(run, rows[0]) or changed_beside(context, rows[0])
        if why:
            step = f"{run.step[rows[0]]:,}"
            return Checked(ID, f"{in_words(known.resets[0])} at step {step}, where {why}: it is not judged alone")
    return _finding(context, known, rows, most_steps=most_steps, raised=raised)


def _fine(context: Context, compared: int, classes: Sequence[str]) -> str:
    if compared:
        return f"the optimiser has the state and the count at the begin of an epoch that it had before, at {compared:,} of them"
    if any(state.get("with_state") for _, states in recorded_states(context.run) for state in states):
        return f"{plural(len(context.boundaries), 'boundary')}, at none of which the state of the optimiser can be compared"
    return f"{some(classes)} remembers nothing that could be lost at {plural(len(context.boundaries), 'boundary')}"


def _finding(context: Context, known: Memory, rows: Sequence[int], *, most_steps: int, raised: float) -> Finding:
    run, resets, first = context.run, known.resets, known.resets[0]
    at = tuple(b.index for b in context.boundaries if b.batch in rows)
    named = {b.batch for b in context.boundaries}
    within = [row for row in rows if row not in named]
    reach = max(50, len(run) // max(len(context.epochs), 1))
    cuts = [cut for cut in measure_rows(run.loss, within, reach=reach, others=sorted(named)) if cut.clear]
    mean_only = all(reset.steps is None for reset in resets)
    level = typical_excess(context.boundaries[k] for k in at)
    every = len(at) == len(context.boundaries)
    rate = _lr_ratio(run, rows)
    moves = bool(at) and jumps(context, at) and (level > 0 or (mean_only and not every))
    moved = (moves or any(cut.excess > 0 for cut in cuts)) and not (mean_only and rate > raised)
    step = f"{run.step[rows[0]]:,}"
    evidence = [Evidence(f"{in_words(first)}, from step {step} on", "opt_step", (max(0, rows[0] - 10), rows[0] + 10))]
    if len(rows) > 1:
        more = f"boundaries {some([k + 1 for k in at], 8)}" if at else f"{len(rows):,} places"
        evidence.append(Evidence(f"the same at {more}, of {known.compared:,} that were compared"))
    against = []
    kick = _kick(run, rows)
    if kick is not None:
        evidence.append(kick)
    if moves and moved:
        evidence.append(Evidence(f"the loss moves there by {signed(level)}", "loss", around(context.boundaries[at[0]])))
    elif not moved:
        against.append(Evidence(_no_jump(at, level), "loss"))
    if rate > raised:
        against.append(Evidence(f"the LR rises there as well, {number(rate)} times: their parts cannot be told apart", "lr"))
    noted = all(planned_at(run, row) is not None for row in rows)
    detail = "replaced" if any(r.replaced for r in resets) else "loaded" if any(r.loaded for r in resets) else "cleared"
    where = f"{len(at):,} of {plural(len(context.boundaries), 'boundary')}" if at else plural(len(rows), "place")
    what = {
        "replaced": f"A new {first.name} takes the place of the one before",
        "loaded": f"An older state is loaded into {first.name}",
        "cleared": f"The state of {first.name} is emptied",
    }[detail]
    return Finding(
        ID, "planned" if noted else "fault", "proved", "The optimiser begins anew",
        f"{what} at {where}, first at step {step}: its moments{'' if mean_only else ' and its count of steps'} are lost.",
        detail=detail, score=0.95 if moved else 0.7, boundaries=at,
        steps=tuple(int(run.step[row]) for row in rows[:most_steps]),
        share=share_against_rest(context, at) if moves and moved else None, explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against), advice=_ADVICE[detail], fix=_fix(run, first, step, detail),
        confirm=f"Print `len(optimizer.state)` right before step {step}: it must not be 0, nor its counts smaller than before.",
    )  # fmt: skip


_ADVICE = {
    "replaced": "Build the optimiser once, before the loop over epochs; to change its LR or what it trains, change "
    "`optimizer.param_groups`, or load the state of the old one into the new one.",
    "loaded": "Load a state into the optimiser only together with the weights of the same moment.",
    "cleared": "Leave `optimizer.state` as it is from epoch to epoch.",
}


def _no_jump(at: Sequence[int], level: float) -> str:
    if not at:
        return "the loss does not clearly move there"
    return f"the loss moves there by {signed(level)}, which does not tell that this is why" if level < 0 else _UNMOVED


_UNMOVED = "the loss moves there no more than at other cuts"


def _lr_ratio(run: Run, rows: Sequence[int]) -> float:
    """By how much the LR is multiplied at `rows`, the median; 1 where it is not known."""
    lr = run.float("lr")
    pairs = [(lr[row - 1], lr[row]) for row in rows if 0 < row < len(lr)]
    ratios = [new / old for old, new in pairs if np.isfinite(old) and np.isfinite(new) and old > 0]
    return median(np.array(ratios)) if ratios else 1.0


def _kick(run: Run, rows: Sequence[int], *, before: int = 10, after: int = 3) -> Evidence | None:
    """How large the first update is beside those right before; None where it was not read."""
    size = run.float("update_ratio")
    ratios = []
    for row in rows:
        then, now = finite(size[max(0, row - before) : row]), finite(size[row : row + after])
        if len(then) and len(now) and median(then) > 0:
            ratios.append(float(now[0]) / median(then))
    if not ratios:
        return None
    said = f"the first update after it is {number(median(np.array(ratios)))} times those of the {before} steps before"
    return Evidence(said, "update_ratio", (max(0, rows[0] - before), rows[0] + before))


def _fix(run: Run, reset: Reset, step: str, detail: str) -> str:
    rate = run.float("lr")
    known = finite(rate[: reset.row + 1])
    lr = f", lr={float(known[0]):.6g}" if len(known) else ""
    if detail == "loaded":
        return (
            f"# at step {step} the optimiser got an older state; together with it belong the weights of that moment\n"
            'model.load_state_dict(state["model"])\noptimizer.load_state_dict(state["optimizer"])'
        )
    if detail == "cleared":
        return f"# leave this out, it ran before step {step}\n# optimizer.state.clear()"
    return (
        f"optimizer = torch.optim.{reset.name}(model.parameters(){lr})     # once; it was built again before step {step}\n"
        "for epoch in range(epochs):\n"
        "    for x, y in train_loader:\n"
        "        ..."
    )
