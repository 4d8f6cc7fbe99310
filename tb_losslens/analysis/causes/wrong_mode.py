"""Training ran in evaluation mode, or a validation ran in training mode.

What it sees:
    `train_mode` at the forward of every training step (1 all modules train, 0 none, 0.5 some), and mode and statistics
    updates inside each validation.

Why it matters:
    `model.eval()` in a validation without `model.train()` after it switches dropout off and freezes the running
    statistics of BatchNorm for the rest of the training. The loss moves where that happens, up or down: without dropout
    it is lower, with frozen statistics often higher. A validation in training mode drops units at random and teaches
    BatchNorm the validation data, so its value is not that of the model that is saved.

How it decides:
    By equality, not by a test: a training step with mode 0, a validation with mode 1 or with updates of running statistics.
    The jump is explained where the mode changes exactly at a boundary that moves; by how much the probe tells, where the
    modes differ by BatchNorm only. Where the recorded model has no module that knows its mode, and the loss does not move
    with it, the same fact is harmless and called benign. A change from 1 to a mode between 0 and 1 is a part of the model
    that goes into evaluation mode: a fault where the loss moves with it, else said and not judged. The way back, or a change
    where other parameters are trained from there on, is called planned where the loss moves, and no finding where it does
    not.

What to try:
    `model.train()` at the top of each epoch, `model.eval()` around each validation.

When it is wrong:
    A mode that is 0 from the first step to the last may be meant (fine-tuning without dropout); it is said. Mode 0.5 at
    all steps, or in turns within each epoch, is a part that is frozen by design and is no finding. Statistics that are
    frozen late on purpose look like a part left in evaluation mode: note them. Calls without gradients that no loader, block
    or value calls a validation, and whose loss nobody computes, are none: samples are drawn and labels made like that.
    Modules of one's own that read `self.training` are not counted as having a mode. False-alarm rate: none on steps that are
    recorded right. A validation that spikes in eval mode only is `batchnorm_drift`.

References:
    PyTorch documentation, `torch.nn.Module.train` and `eval`. Ioffe and Szegedy, Batch Normalization, 2015.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context, Outcome
from tb_losslens.analysis.eval_mode import (
    INSIDE,
    about_model,
    cannot_tell,
    eval_where,
    flips,
    inside_epochs,
    mode_fix,
    model_modules,
    moved_inside,
)
from tb_losslens.analysis.explain import around, jumps, share_against_rest, typical_excess
from tb_losslens.analysis.finding import Checked, Evidence, Finding, Skipped
from tb_losslens.analysis.known import read_late
from tb_losslens.analysis.mode_experiment import heldout_experiment, mode_experiment
from tb_losslens.analysis.part_mode import part_in_eval, part_in_words
from tb_losslens.analysis.text import number, percent, plural, signed, some
from tb_losslens.store.run import Run

ID = "wrong_mode"
REQUIRES: tuple[str, ...] = ("train_mode",)

_WATCH = "writer.watch(model, optimizer, criterion=criterion)"
_EARLY = f"{_WATCH}     # before the first batch"
_HARMLESS = " It changes nothing in this model, but it would as soon as dropout or batch normalisation is added."


def find(context: Context, *, most_steps: int = 50) -> list[Outcome]:
    """Both directions, and a part of the model, each a finding of its own; `most_steps` bounds `Finding.steps`."""
    found = [_training_in_eval(context, most_steps), part_in_eval(context), _validation_in_train(context, most_steps)]
    said: list[Outcome] = [finding for finding in found if finding is not None]
    late = read_late(context.run, "train_mode")
    return said or [Skipped(ID, f"{late}; after that {_fine(context)}", _EARLY) if late else Checked(ID, _fine(context))]


def _fine(context: Context) -> str:
    mode = context.run.float("train_mode")
    known = mode[np.isfinite(mode)]
    said = f"no training step of {len(known):,} ran in evaluation mode"
    if _is_frozen(context.run):
        return "nothing in the watched model is trained: it gives features to another, in the mode that is meant for that"
    partly = part_in_words(context.run)
    said += f"; {partly}" if partly else ""
    validations = [e for e in context.run.events if e.ends_validation and e.fields.get("train_mode") is not None]
    return f"{said}, and none of {plural(len(validations), 'validation')} in training mode" if validations else said


def _training_in_eval(context: Context, most_steps: int) -> Finding | None:
    run = context.run
    mode = run.float("train_mode")
    off = np.flatnonzero(mode == 0)
    if not len(off) or _is_frozen(run):
        return None
    first, known = int(off[0]), int(np.isfinite(mode).sum())
    changes = flips(mode)
    at = tuple(b.index for b in context.boundaries if b.batch in changes)
    moved = bool(at) and jumps(context, at)
    inside = moved_inside(context, changes)
    modules = model_modules(context)
    harmless = modules == (0, 0) and not moved and not inside
    throughout = len(off) == known
    inside_only = inside_epochs(context, mode)
    where = "at every step" if throughout else eval_where(run, mode, inside_only)
    evidence = [
        Evidence(
            f"{len(off):,} of {plural(known, 'training step')} ran in evaluation mode, first step {run.step[first]:,}",
            "train_mode",
            (first, int(off[-1]) + 1),
        )
    ]
    before = [e for e in run.events if first in changes and e.kind == "validation_end" and e.batch == first]
    if before:
        what = "a validation" if any(e.ends_validation for e in before) else "a pass without gradients"
        evidence.append(Evidence(f"{what} ended right before step {run.step[first]:,}, and the mode was not set back"))
    against: list[Evidence] = []
    if moved:
        level = signed(typical_excess(context.boundaries[k] for k in at))
        evidence.append(
            Evidence(
                f"the mode changes exactly at {plural(len(at), 'boundary')}, and the loss moves there by {level}",
                "loss",
                around(context.boundaries[at[0]]),
            )
        )
    elif at:
        against.append(Evidence(cannot_tell(context, at, harmless=harmless), "loss", around(context.boundaries[at[0]])))
    share = share_against_rest(context, at) if moved else None
    tested = mode_experiment(context, at, mode) if moved else None
    if tested is not None:
        (evidence if tested.share is not None else against).append(tested.evidence)
        share = tested.share if tested.share is not None else share
    for cut in inside[:3]:
        at_step = f"the mode changes at step {run.step[cut.row]:,}"
        said = f"{at_step}, and the loss moves there by {signed(cut.excess)} ({number(cut.z, 2)} sigma)"
        evidence.append(Evidence(said, "loss", (cut.row - cut.m, cut.row + cut.m)))
    if throughout:
        against.append(Evidence("it is so from the first step to the last and may be meant, as in fine-tuning without dropout"))
    (against if harmless else evidence).extend(about_model(modules))
    return Finding(
        ID,
        "benign" if harmless else "fault",
        "proved",
        "Training in evaluation mode",
        f"The model is in evaluation mode {where}, in {percent(len(off) / known)} of the training steps."
        + harmless * _HARMLESS,
        detail="training_in_eval",
        score=0.2 if harmless else 0.95 if moved or inside else 0.6 if throughout else 0.75,
        boundaries=at,
        steps=_steps(run.step, off, most_steps),
        share=share,
        explains_jump=moved or bool(inside),
        evidence=tuple(evidence),
        against=tuple(against),
        missing=(_WATCH,) if modules is None else (),
        advice=INSIDE
        if inside_only
        else "Set the mode where the epoch begins, not once before the training: a validation in between changes it.",
        fix=mode_fix(where, inside=inside_only is not None),
        confirm=f"Print `model.training` at step {run.step[first]:,}: it is False now and must be True after the change.",
    )


def _is_frozen(run: Run) -> bool:
    """True if nothing in the watched model is trained: it gives features to something else, in the mode meant for that."""
    model = run.facts.get("model")
    return isinstance(model, dict) and model.get("trainable") == 0


def _validation_in_train(context: Context, most_steps: int) -> Finding | None:
    # nobody said where one with several modes begins: what updated the statistics in it may have been no part of it
    ends = [e for e in context.run.events if e.ends_validation and not e.fields.get("several_modes")]
    known = [e for e in ends if e.fields.get("train_mode") is not None or e.fields.get("bn_updates") is not None]
    wrong = [e for e in known if e.fields.get("train_mode") == 1 or (e.fields.get("bn_updates") or 0) > 0]
    if not wrong:
        return None
    updates = int(sum(e.fields.get("bn_updates") or 0 for e in wrong))
    modules = model_modules(context)
    harmless = modules == (0, 0) and not updates
    in_mode = [e for e in wrong if e.fields.get("train_mode") == 1]
    evidence = []
    if in_mode:
        said = f"the model was in training mode in {len(in_mode):,} of {plural(len(known), 'validation')}"
        evidence.append(Evidence(f"{said}, the first ends at step {in_mode[0].step:,}"))
    if updates:
        evidence.append(Evidence(f"validation batches updated running statistics {updates:,} times: held-out data got in"))
    against = [Evidence("it changes the validation value, not the training loss at the boundary")]
    evidence += heldout_experiment(context.run, in_mode)
    (against if harmless else evidence).extend(about_model(modules))
    epochs = sorted({int(e.fields.get("epoch", -1)) for e in wrong} - {-1})
    during = f" (epochs {some(epochs)})" if epochs else ""
    text = f"{len(wrong):,} of {plural(len(known), 'validation')} ran in training mode{during}."
    return Finding(
        ID,
        "benign" if harmless else "fault",
        "proved",
        "Validation in training mode",
        text + (_HARMLESS if harmless else " Its values are not those of the model that is saved."),
        detail="validation_in_train",
        score=0.15 if harmless else 0.7,
        steps=tuple(e.step for e in wrong[:most_steps]),
        explains_jump=False,
        evidence=tuple(evidence),
        against=tuple(against),
        missing=(_WATCH,) if modules is None else (),
        advice="Call `model.eval()` before each validation and `model.train()` after it.",
        fix=(
            "model.eval()               # was missing\n"
            "with torch.no_grad():\n"
            "    value = validate(model, val_loader)\n"
            "model.train()"
        ),
        confirm="Validate twice in a row without a step in between: the two values must be equal.",
    )


def _steps(step: NDArray[np.int64], rows: NDArray[np.int64], most: int) -> tuple[int, ...]:
    """First step of each stretch of consecutive `rows` (and the last one of a single stretch), at most `most`."""
    starts = rows[np.concatenate([[True], np.diff(rows) > 1])]
    chosen = sorted({*starts.tolist(), int(rows[-1])}) if len(starts) == 1 else starts.tolist()
    return tuple(int(s) for s in step[np.array(chosen[:most])])
