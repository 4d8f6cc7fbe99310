"""The code that makes a loss that is a sum over the batch a mean, with steps as long as they were."""

from __future__ import annotations

from typing import Any

import numpy as np

from tb_losslens.store.run import Run


def sum_fix(run: Run, usual: float) -> str:
    """Code for a run whose batches have `usual` samples: the loss, and what its gradient is weighed against.

    All that is added to the gradient or compared with it must shrink with it: L2 weight decay and the norm it is clipped at.
    Decoupled weight decay (AdamW) goes with the LR alone. SGD takes a step as long as the gradient; Adam's does not depend
    on its scale.
    """
    n = f"{usual:.0f}"
    optimizer: Any = run.facts.get("optimizer")
    optimizer = optimizer if isinstance(optimizer, dict) else {}
    defaults = optimizer.get("defaults")
    defaults = defaults if isinstance(defaults, dict) else {}
    adam = "betas" in defaults
    decoupled = optimizer.get("class") == "AdamW" or defaults.get("decoupled_weight_decay") is True
    lines = [
        "loss = criterion(output, target) / len(target)     # weights, label_smoothing, ignore_index stay as they are",
        f"# the gradient is then {n} times smaller; once, for steps as long as before:",
    ]
    groups = []
    if not adam:
        groups.append(f'    group["lr"] *= {n}' + ("" if optimizer else "     # not for Adam"))
    if not decoupled and (not defaults or defaults.get("weight_decay") or len(optimizer.get("groups") or ()) > 1):
        groups.append(f'    group["weight_decay"] /= {n}')
    if groups:
        lines += ["for group in optimizer.param_groups:", *groups]
    else:
        lines[1] = f"# the gradient is then {n} times smaller, which {optimizer.get('class', 'Adam')} makes up for by itself"
    if clips(run):
        lines.append(f"# and divide the norm that gradients are clipped at by {n}")
    return "\n".join(lines)


def clips(run: Run) -> bool:
    """True if a gradient that was read is smaller at the optimiser step than at the end of backward."""
    before, at_step = run.float("grad_norm"), run.float("grad_norm_at_step")
    with np.errstate(invalid="ignore"):
        return bool((at_step < 0.99 * before).any())
