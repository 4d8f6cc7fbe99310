"""The code that mends a rise of the learning rate, with the LRs of the run that was recorded."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.lr_steps import LrStep, filled
from tb_losslens.analysis.schedule import scheduler_class, stepped_each_batch

_OF_TORCH = frozenset(
    {"ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LambdaLR", "LinearLR"}
    | {"MultiplicativeLR", "MultiStepLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"}
)


def lr_fix(context: Context, detail: str, step: LrStep, *, harmed: bool) -> str:
    """Code for a rise called `detail`; where the run came to harm (`harmed`), with a lower LR first."""
    if detail == "warm_up":
        return ""
    high = f"{step.after:.3g}"
    if detail == "warm_restart":
        said = f"{high} is too high to restart from: halve it" if harmed else f"if cycles end no better: from less than {high}"
        return f"# {said}\nscheduler.base_lrs = [lr / 2 for lr in scheduler.base_lrs]"
    if detail == "step":
        return _lower(context, step) if harmed and not _held_before(context, step) else _slower(context, step)
    return _once(context, step, harmed=harmed)


def _slower(context: Context, step: LrStep) -> str:
    at, over = int(context.run.step[step.row]), _ramp(context)
    low, high = f"{step.before:.3g}", f"{step.after:.3g}"
    rise = f"{low} * ({high} / {low}) ** part" if step.before > 0 else f"{high} * part"
    return (
        f"# over {over} steps instead of all at step {at}\n"
        f"part = max(0.0, min(1.0, (step - {at}) / {over}))\n"
        f'for group in optimizer.param_groups:\n    group["lr"] = {rise}'
    )


def _lower(context: Context, step: LrStep) -> str:
    """A ramp to an LR that the run does not bear gets there later, so the target comes first."""
    stable, over = stable_lr(context, step), _ramp(context)
    return (
        f"# {step.after:.3g} is too high for this run: {stable:.3g} is the highest LR that it was stable with\n"
        f'for group in optimizer.param_groups:\n    group["lr"] = {stable:.3g}\n'
        f"# if it must be higher: at most twice that, over {over} steps, and back as soon as the loss rises"
    )


def _held_before(context: Context, step: LrStep) -> bool:
    """True if the run had the new LR, or a higher one, at some time before: then it is not the LR that is too high."""
    before = filled(context.run.float(step.column))[: step.row]
    return bool((before[np.isfinite(before)] >= 0.99 * step.after).any())


def stable_lr(context: Context, step: LrStep) -> float:
    """The highest LR below the new one that was used before the rise; the one right before it if there is none."""
    before = filled(context.run.float(step.column))[: step.row]
    lower = before[np.isfinite(before) & (before < 0.99 * step.after)]
    return float(lower.max()) if len(lower) else step.before


def _ramp(context: Context) -> int:
    return max(100, _length(context))


def _length(context: Context) -> int:
    return int(np.median([len(epoch) for epoch in context.epochs])) if context.epochs else 100


def _once(context: Context, step: LrStep, *, harmed: bool) -> str:
    length = _length(context)
    name = scheduler_class(context) or "CosineAnnealingLR"
    batch = stepped_each_batch(context, step.column)
    arguments = "..." if name != "CosineAnnealingLR" else f"T_max=epochs * {length}" if batch else "T_max=epochs"
    call = "        scheduler.step()" if batch else "    scheduler.step()"
    imported = f"from torch.optim.lr_scheduler import {name}\n" if name in _OF_TORCH else ""
    start = (
        f"# {step.after:.3g} is too high to start from as well: a tenth of it\n"
        f'for group in optimizer.param_groups:\n    group["lr"] = {step.after / 10:.3g}\n'
        if harmed
        else ""
    )
    return (
        f"{start}{imported}# once, before the epochs; epochs: all that the training is to have\n"
        f"scheduler = {name}(\n    optimizer, {arguments})\n"
        f"for epoch in range(epochs):\n    for x, y in train_loader:\n        ...\n{call}"
    )
