"""A single loss of the optimiser's state: what happened beside it, and what is said where a training was gone on with."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.changes import another_data_set, planned_at, replaced_at
from tb_losslens.analysis.context import Context
from tb_losslens.analysis.explain import around, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.optimizer_records import in_words, memory
from tb_losslens.analysis.text import signed
from tb_losslens.store.run import Run


def resumed_with(run: Run, row: int) -> str:
    """What at `row` says that the training was gone on with from something saved, in words; "" if nothing does."""
    restored = [e for e in run.events if e.kind == "restore" and abs(e.batch - row) <= 1]
    if restored:
        what = sorted({str(e.fields.get("what") or "training") for e in restored})
        return f"a state of the {' and the '.join(what)} was loaded"
    for other in ("model", "scheduler"):
        if replaced_at(run, row, other) is not None:
            return f"a new {other} took the place of the one before"
    usual = np.diff(run.step)
    if 0 < row < len(run) and len(usual) > 2 and (usual == np.median(usual)).mean() > 0.9:
        jump = int(run.step[row] - run.step[row - 1])
        if jump != int(np.median(usual)):
            return f"the step goes from {run.step[row - 1]:,} to {run.step[row]:,}"
    return ""


def changed_beside(context: Context, row: int, *, reach: int = 1) -> str:
    """What else was changed at `row`, in words; "" if nothing was. Notes of the user are not asked here.

    Settings of an optimiser that nobody named are read at the end of the epoch that begins with it.
    """
    run = context.run
    end = next((epoch.last for epoch in context.epochs if abs(epoch.first - row) <= reach), row)
    changed = [
        e
        for e in run.config_changes[1]
        if e.fields.get("automatic")
        and (abs(e.batch - row) <= reach or (e.batch == end and e.fields.get("when") == "within an epoch"))
    ]
    if changed:
        return f"other settings change too ({changed[0].text})"
    at = [b for b in context.boundaries if b.batch == row]
    if at and another_data_set(run, context.epochs, at[0].index):
        return "the loader reads another data set from there on"
    return ""


def optimizer_lost(context: Context) -> list[Finding]:
    """The finding where a training was gone on with, in the same process, with an optimiser that lost its state; else none."""
    run = context.run
    resets = memory(run).resets
    rows = sorted({reset.row for reset in resets})
    why = resumed_with(run, rows[0]) if len(rows) == 1 else ""
    if not why:
        return []
    row, first = rows[0], resets[0]
    at = tuple(b.index for b in context.boundaries if b.batch == row)
    moved = bool(at) and jumps(context, at) and typical_excess(context.boundaries[k] for k in at) > 0
    evidence = [Evidence(f"{in_words(first)}; at the same place {why}", "opt_step", (max(0, row - 10), row + 10))]
    against = []
    if moved:
        level = signed(typical_excess(context.boundaries[k] for k in at))
        evidence.append(Evidence(f"the loss moves there by {level}", "loss", around(context.boundaries[at[0]])))
    else:
        against.append(Evidence("the loss moves there no more than at other cuts", "loss"))
    meant = first.loaded or planned_at(run, row) is not None
    step = f"{run.step[row]:,}"
    return [Finding(
        "resume_discontinuity", "planned" if meant else "fault", "proved", "The training went on without the optimiser's state",
        f"At step {step} {why}, and {first.name} has {first.now} there: what it remembered is lost.",
        detail="optimizer_state", score=0.9 if moved else 0.65, boundaries=at, steps=(int(run.step[row]),),
        share=share_against_rest(context, at) if moved else None, explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against),
        advice="Save the state of the optimiser with the weights, and load both together.",
        fix=(
            'torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, path)\n'
            f"# where the training goes on at step {step}\n"
            "state = torch.load(path)\n"
            'model.load_state_dict(state["model"])\n'
            'optimizer.load_state_dict(state["optimizer"])'
        ),
        confirm=f"Print `len(optimizer.state)` right before step {step}: it must not be 0.",
    )]  # fmt: skip
