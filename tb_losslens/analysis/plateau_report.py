"""What is said of a ReduceLROnPlateau that cuts too early, or too late."""

from __future__ import annotations

import math

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.downhill import SLOPE
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.patience import patience_for
from tb_losslens.analysis.plateau import BATCH, PLATEAU, Followed, Settings
from tb_losslens.analysis.plateau_cuts import Cut
from tb_losslens.analysis.stats import noise
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run

_OF_ACCURACY = "fall, as a loss does; of an accuracy it is 'max'."


def too_eager(context: Context, settings: Settings, one: Followed, cut: Cut, *, wrong_way: bool, cause: str) -> Finding:
    """Of a scheduler whose `cut` came while the loss was falling; `wrong_way`: its mode is not that of its metric."""
    run = context.run
    rate = filled(run.float("lr"))
    fell = f"from {number(float(rate[0]))} to {number(float(rate[-1]))}, while the loss was falling."
    if wrong_way:
        way = "rise" if settings.mode == "max" else "fall"
        text = f"The scheduler waits for its metric to {way}, and it never did: the LR was cut every {_period(one)}, {fell}"
    else:
        text = (
            f"The scheduler follows {one.metric} with a patience of {settings.patience}: noise in it was taken for a plateau, "
            f"and the LR cut {plural(len(one.cuts), 'time')}, {fell}"
        )
    patience = _patience(settings, one, cut)
    return Finding(
        cause, "fault", "likely", "LR cut while the loss was still falling", text,
        detail="too_eager", score=0.8, steps=tuple(int(run.step[int(one.rows[k])]) for k in one.cuts[:50]),
        explains_jump=False, evidence=_eager_evidence(run, settings, one, cut, wrong_way=wrong_way),
        against=(Evidence("it is about what was not learned, and explains no jump of the loss"),),
        advice=_advice(settings, one, patience, wrong_way=wrong_way), fix=_fix(settings, one, patience, wrong_way=wrong_way),
        confirm=f"Go on from step {int(run.step[cut.row]):,} with the LR left at {number(cut.before)}: the loss falls below "
        f"{number(cut.level - cut.came)}.",
    )  # fmt: skip


def _eager_evidence(run: Run, settings: Settings, one: Followed, cut: Cut, *, wrong_way: bool) -> tuple[Evidence, ...]:
    count = plural(len(one.cuts), "cut")
    if wrong_way:
        rule = f"its {count} come every {_period(one)}, as of a metric that never gets better than at first"
    else:
        rule = f"its rule, replayed on {one.metric}, gives the LR of each batch and all {count} of it"
    before, far = f"before step {int(run.step[cut.row]):,}", f"{number(-cut.slope.errors, 2)} standard errors"
    if cut.slope.by_loss:
        slope = f"{before} the loss was falling by {number(-cut.slope.mean)} a batch, {far}"
    else:
        read = f"along the {plural(cut.slope.count, 'update')} read {before} the slope is {number(cut.slope.mean)}"
        slope = f"{read}, {far} below 0: the minimum lay ahead"
    rest = len(run) - cut.row
    more = plural(min(cut.row - cut.first, rest), "batch")
    coming = f"at that rate {more} more take {number(cut.coming)} off the loss"
    came = f"{coming}; all {rest:,} that followed took {number(cut.came)}"
    return (
        Evidence(f"{PLATEAU} with mode {settings.mode!r} and patience {settings.patience}: {rule}", "lr"),
        Evidence(slope, "loss" if cut.slope.by_loss else SLOPE, ((cut.first + cut.row) // 2, cut.row)),
        Evidence(came, "loss", (cut.first, len(run))),
    )


def _unit(one: Followed) -> str:
    return "batch" if len(one.rows) and one.rows[0] == 1 else "step"


def _period(one: Followed) -> str:
    return plural(int(np.median(np.diff(one.cuts))), _unit(one))


def _patience(settings: Settings, one: Followed, cut: Cut) -> int:
    """Steps in which the fall outgrows the noise of the metric; of batches, epochs of them."""
    if one.metric in (BATCH, ""):
        return 3 if _unit(one) == "batch" else max(3, settings.patience)
    known = one.values[: max(3, int(np.searchsorted(one.rows, cut.row, side="right")))]
    rough = noise(np.diff(known)) / math.sqrt(3) if len(known) > 4 else noise(known)
    each = -cut.slope.mean * float(np.median(np.diff(one.rows)))
    wanted = patience_for(rough, each) if math.isfinite(rough) else 0
    return int(np.clip(wanted, 2 * settings.patience + 2, max(20, 2 * settings.patience + 2)))


def _advice(settings: Settings, one: Followed, patience: int, *, wrong_way: bool) -> str:
    said = []
    if wrong_way:
        waits = f"Check what `scheduler.step` is given: mode {settings.mode!r} waits for it to"
        rises = settings.mode == "max"
        said.append(f"{waits} " + ("rise, as an accuracy does; of a loss it is 'min'." if rises else _OF_ACCURACY))
    if _unit(one) == "batch":
        said.append("Step the scheduler once an epoch, with the mean loss of the epoch or the held-out loss: a batch is noise.")
    elif not wrong_way:
        outgrows = "in which the fall outgrows the noise of the metric"
        said.append(f"A patience of {plural(patience, 'step')}, {outgrows}, or a smoother metric.")
    return " ".join(said)


def _fix(settings: Settings, one: Followed, patience: int, *, wrong_way: bool) -> str:
    mode = ("min" if settings.mode == "max" else "max") if wrong_way else settings.mode
    was = f"# mode was {settings.mode!r}" if wrong_way else f"# patience was {settings.patience}"
    made = _made(settings, mode, patience)
    if _unit(one) != "batch":
        return f"{made}   {was}"
    return (
        f"{made}   {was}, stepped once a batch\nfor epoch in range(epochs):\n    total = 0.0\n    for x, y in train_loader:\n"
        "        ...\n        total += loss.item()\n    scheduler.step(total / len(train_loader))    # once an epoch"
    )


def _made(settings: Settings, mode: str, patience: int) -> str:
    return (
        f"scheduler = torch.optim.lr_scheduler.{PLATEAU}(\n    optimizer, mode={mode!r}, factor={settings.factor:g}, "
        f"patience={patience}, threshold={settings.threshold:g}\n)"
    )


def too_late(context: Context, settings: Settings, one: Followed, cut: Cut, *, cause: str) -> Finding:
    """Of a scheduler that kept the LR for long while the loss stood still, until `cut` brought it down."""
    run, unit = context.run, _unit(one)
    waited, part = cut.row - cut.best, percent((cut.row - cut.best) / len(run))
    shorter = max(1, settings.patience // 3)
    share = percent(min(1.0, cut.drop / cut.learned)) if cut.learned > 0 else "all"
    steps = plural(settings.patience + 1, unit)
    evidence = (
        Evidence(
            f"{PLATEAU} with patience {settings.patience}, replayed on {one.metric}, gives the LR of each batch: it waited for "
            f"{steps}, or {plural(waited, 'batch')}, {part} of the run",
            "lr", (cut.best, cut.row),
        ),
        Evidence(
            f"the loss moved by {number(abs(cut.stood))} within these batches, and fell by {number(cut.drop)} with the cut, "
            f"{share} of what the run learned",
            "loss", (cut.best, min(len(run), cut.row + (cut.row - cut.first) // 3)),
        ),
    )  # fmt: skip
    return Finding(
        cause, "fault", "likely", "LR cut long after the loss stopped falling",
        f"The learning rate was kept at {number(cut.before)} for {plural(waited, 'batch')} without a new best, {part} of the "
        f"run, by a patience of {settings.patience}; the cut at step {int(run.step[cut.row]):,} then took {number(cut.drop)} "
        "off the loss.",
        detail="too_late", score=0.7, steps=(int(run.step[cut.row]),), explains_jump=False, evidence=evidence,
        against=(Evidence("it is about time that was lost; the fall at the cut is what a smaller LR does"),),
        advice=f"A patience of {plural(shorter, unit)}: it cuts {plural(settings.patience - shorter, unit)} earlier.",
        fix=f"{_made(settings, settings.mode, shorter)}   # patience was {settings.patience}",
        confirm=f"Cut the LR to {number(cut.after)} at step {int(run.step[(cut.best + cut.row) // 2]):,}: the loss falls "
        "as much.",
    )  # fmt: skip
