"""What is said of a decay that ended the training early, with the schedule that would not."""

from __future__ import annotations

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.downhill import SLOPE
from tb_losslens.analysis.early_decay import Decay, each_batch
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.schedule import scheduler_class
from tb_losslens.analysis.text import number, percent, plural

DETAIL = "decay"

_IN_EPOCHS = ("StepLR", "MultiStepLR", "ExponentialLR", "MultiplicativeLR", "LambdaLR", "PolynomialLR", "CosineAnnealingLR")
"""Schedulers that most people set up in epochs."""


def decay_finding(context: Context, decay: Decay, cause: str) -> Finding:
    """The finding in the name of `cause`."""
    run = context.run
    step = int(run.step[decay.row])
    rest = percent(1 - decay.row / len(run))
    by_batch = each_batch(run)
    evidence = [
        Evidence(
            f"the LR falls from {number(decay.peak)} to {number(decay.end)}; the {rest} of the batches from step {step:,} on "
            f"have {percent(decay.share)} of all LRs added up",
            "lr",
        ),
        Evidence(
            f"over the last third of the way before, the loss falls by {number(decay.fell)} "
            f"({number(decay.fell / decay.error, 2)} standard errors): as much way again would bring {number(decay.coming)}",
            "loss",
        ),
        Evidence(f"all batches after it bring {number(max(0.0, decay.came))}", "loss"),
    ]
    sure = decay.late.errors <= -3
    if sure:
        said = f"{number(-decay.late.errors, 2)} standard errors below 0, over {plural(decay.late.count, 'update')}"
        evidence.append(Evidence(f"the slope along the updates after step {step:,} still goes down: {said}", SLOPE))
    name = scheduler_class(context)
    counted = f"`{name}` was stepped once a batch" if by_batch and name in _IN_EPOCHS else ""
    if counted:
        evidence.append(Evidence(f"{counted}, {len(run):,} times in {plural(len(context.epochs), 'epoch')}", "lr"))
    return Finding(
        cause, "fault", "likely" if sure else "possible", "The learning rate decays too early",
        f"The learning rate is as good as gone from step {step:,} on, {rest} of the run, while the loss still fell: from "
        f"{number(decay.level)} before to {number(decay.level - decay.came)} at the end.",
        detail=DETAIL, score=0.75 if sure else 0.5, steps=(step,), explains_jump=False, evidence=tuple(evidence),
        against=(Evidence("what a longer way would have brought is told from how the loss fell before, and was not tried"),),
        missing=() if sure else ("writer.watch(model, optimizer)     # reads the slope along the updates",),
        advice=(f"{counted}: step it once an epoch." if counted else "Let the LR fall over the whole length of the training.")
        + " Where the loss still falls at the end, train longer.",
        fix=_fix(context, name, in_batches=by_batch, counted=bool(counted)),
        confirm=f"Train with a constant LR of {number(decay.peak)}: the loss goes below {number(decay.level - decay.came)}.",
    )  # fmt: skip


def _fix(context: Context, name: str, *, in_batches: bool, counted: bool) -> str:
    epochs, batches = len(context.epochs), len(context.run)
    if counted:
        return (
            f"for epoch in range({epochs}):\n"
            "    for inputs, targets in train_loader:\n"
            "        ...                  # optimizer.step() stays here\n"
            "    scheduler.step()         # once an epoch"
        )
    count, unit = (batches, "batch") if in_batches else (epochs, "epoch")
    length = plural(count, unit)
    if name == "ExponentialLR":
        was = (context.run.facts.get("scheduler") or {}).get("gamma")
        gamma = 0.01 ** (1 / max(1, count))
        return f"scheduler = ExponentialLR(optimizer, gamma={gamma:.4g})     # was {was}: a hundredth after {length}"
    if name == "StepLR":
        return f"scheduler = StepLR(optimizer, step_size={max(1, count // 3)}, gamma=0.1)     # three levels in {length}"
    return f"scheduler = CosineAnnealingLR(optimizer, T_max={count})     # down once in {length}, stepped once in each"
