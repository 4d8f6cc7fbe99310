"""A new process goes on with a run and has not all of the state that the one before ended with.

What it sees:
    Where a newer recording begins in the same directory; checksums of the weights and the state of the optimiser at the
    ends of epochs and validations, in both processes.

Why it matters:
    A restart that builds the model anew, loads an older checkpoint, or forgets the optimiser's moments trains on from
    another state than the curve says. The loss jumps there, and the run is two trainings under one name.

How it decides:
    By equalities. The optimiser has no state at the first step of the new process, and had some before. The weights that
    it begins with equal a state of this run that is recorded, and that is of an earlier batch than the newest: they are
    stale by so many steps, or never were trained. Or those that the run ended with were recorded right there, and the new
    process has others, which equal no recorded state: it did not go on from where the run ended (a fault where the loss
    moves). Where the newest recorded weights are older than that, a checkpoint may lie between: this is said and proves
    nothing. Inside one process, weights that differ between the end of an epoch and the begin of the next while the
    optimisers count no step were changed by other code (`weights_changed`, or `stale_weights` where they equal an earlier
    state). If `load_state_dict` was called on the model there, it is called planned, since somebody wrote that line: a
    rollback to the best weights. Inside an epoch the norm of the weights may not have changed by more than the step before
    moved them; it is told where the loss rises, and no setting was changed in that epoch. An optimiser that loses its state
    once, where a state was loaded, the model or the scheduler replaced, or the step jumps, is told too. It explains the jump
    where the loss moves at the same boundary.

What to try:
    Save and load the weights, the optimiser, the scheduler and the step together.

When it is wrong:
    A new training that is meant, in a directory that was used before, is the same thing: give it a directory of its own.
    Weights that a process averages after its last epoch, and that the next one begins with, are other ones: that is right. If a
    validation ran with them it is proved that they are these, and called planned where the loss moves.
    Plain SGD has no state to lose. An optimiser whose state is loaded after the first epoch began looks lost.
    False-alarm rate: none on checksums that are recorded right. One process that builds its optimiser anew again and again,
    or without anything else beside it, is `optimizer_reset`.

References:
    PyTorch tutorials, Saving and Loading a General Checkpoint.
"""

from __future__ import annotations

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.explain import around, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Kind
from tb_losslens.analysis.optimizer_resume import optimizer_lost
from tb_losslens.analysis.restarts import Restart, in_words, restarts
from tb_losslens.analysis.text import signed
from tb_losslens.analysis.weight_records import place
from tb_losslens.analysis.weights_changed import weights_changed
from tb_losslens.analysis.weights_inside import weights_inside

ID = "resume_discontinuity"
REQUIRES: tuple[str, ...] = ()


def find(context: Context) -> list[Outcome]:
    """One finding for each restart that lost something, else what was compared."""
    run = context.run
    seen = restarts(run)
    changed = weights_changed(context)
    at = {k for finding in changed for k in finding.boundaries}
    changed += weights_inside(context, ID)
    changed += [finding for finding in optimizer_lost(context) if not at & set(finding.boundaries)]
    if not seen and not changed:
        return [Checked(ID, "one process recorded all of it")]
    found: list[Outcome] = [*changed, *(_finding(context, one) for one in seen if _differs(context, one))]
    return found or [Checked(ID, "; ".join(in_words(run, one) for one in seen))]


def _differs(context: Context, restart: Restart) -> bool:
    """True if it has another state; weights that a validation ran with are others only where the loss shows it."""
    return restart.stale or restart.other or restart.lost or (restart.validated and _moved(context, restart)[1])


def _moved(context: Context, restart: Restart) -> tuple[tuple[int, ...], bool]:
    """(the boundary of a restart or none, whether the loss moves there)."""
    at = tuple(b.index for b in context.boundaries if b.batch == restart.row)
    return at, bool(at) and jumps(context, at)


def _finding(context: Context, restart: Restart) -> Finding:
    run, row = context.run, restart.row
    step = f"{run.step[row]:,}"
    at, moved = _moved(context, restart)
    evidence = [Evidence(in_words(run, restart), "step", (max(0, row - 1), row + 1))]
    against = []
    if moved:
        level = signed(typical_excess(context.boundaries[k] for k in at))
        evidence.append(Evidence(f"the loss moves there by {level}", "loss", around(context.boundaries[at[0]])))
    else:
        against.append(Evidence("the loss moves there no more than at other cuts", "loss"))
    wrong = []
    if restart.stale and restart.weights is not None:
        fresh = restart.weights.batch == 0 and restart.weights.kind == "epoch_begin"
        wrong.append("untrained weights" if fresh else f"the weights {place(restart.weights)}")
    if restart.other:
        wrong.append("other weights than the run ended with")
    if restart.lost:
        wrong.append("an optimiser without state")
    if restart.validated:
        wrong.append("the weights that the last validation ran with")
    weights = restart.stale or restart.other or restart.validated
    if restart.loaded and weights:
        evidence.append(Evidence("the process before loaded a state into the model after its last step"))
    return Finding(
        ID, _kind(restart, moved), "proved", "A new process began without the state of the one before",
        f"The process that begins at step {step} has {' and '.join(wrong)}.",
        detail="stale_weights" if weights else "optimizer_state", score=0.95 if moved else 0.7, boundaries=at,
        steps=(int(run.step[row]),), share=share_against_rest(context, at) if moved else None, explains_jump=moved,
        evidence=tuple(evidence), against=tuple(against),
        advice="Save and load the weights, the optimiser, the scheduler and the step together; a training that is meant to be "
        "a new one gets a directory of its own.",
        fix=(
            'torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, path)\n'
            f"# in the process that goes on at step {run.step[row]}, before the first epoch\n"
            "state = torch.load(path)\n"
            'model.load_state_dict(state["model"])\n'
            'optimizer.load_state_dict(state["optimizer"])'
        ),
        confirm="Validate right after loading: the value must be that of the last validation before the restart.",
    )  # fmt: skip


def _kind(restart: Restart, moved: bool) -> Kind:
    """A fault, unless the process before had gone back by itself, or other weights (as averaged ones) show no effect."""
    if restart.lost:
        return "fault"
    if restart.loaded or restart.validated:
        return "planned"
    return "fault" if restart.stale or moved else "unknown"
