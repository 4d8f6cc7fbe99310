"""Whether a ReduceLROnPlateau waits for a loss to rise: by mode "max" each validation counts as one without progress."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.plateau import HELD_OUT, PLATEAU, Followed, Settings
from tb_losslens.analysis.text import number, percent, plural
from tb_losslens.store.run import Run


def loss_under_max(
    run: Run,
    settings: Settings,
    fits: list[Followed],
    *,
    least: int = 3,
    fallen: float = 0.5,
    little: float = 0.01,
    left: float = 0.5,
) -> tuple[Followed, int] | None:
    """The held-out loss that a scheduler of mode "max" follows, and the row from which on it left no LR to speak of.

    Its rule gives the LR of each batch with the held-out loss, and with any metric that never got better than at first. An
    accuracy is none of these where the held-out loss has become half of its first value meanwhile. None without such cuts, or
    without harm by them.

    Args:
        run: with a loss and an LR.
        settings: of the scheduler.
        fits: metrics with which its rule gives the LRs that were used.
        least: cuts.
        fallen: part of the first held-out loss that is left when the LR is gone, at most.
        little: part of the first LR, from which on it is gone.
        left: part of the batches that were trained with no more than that, at least.
    """
    held = next((one for one in fits if one.metric == HELD_OUT), None)
    if settings.mode != "max" or held is None or all(one.metric for one in fits) or len(held.cuts) < least:
        return None
    rate = filled(run.float("lr"))
    gone = np.flatnonzero(rate <= little * rate[0])
    if not len(gone) or len(gone) < left * len(run) or not 0 < held.values[0] < np.inf:
        return None
    row = int(gone[0])
    before = held.values[held.rows <= row]
    return (held, row) if len(before) and before[-1] < fallen * held.values[0] else None


def loss_under_max_finding(run: Run, settings: Settings, held: Followed, row: int, *, cause: str) -> Finding:
    """The finding for it."""
    rate = filled(run.float("lr"))
    first, last = number(float(held.values[0])), number(float(held.values[held.rows <= row][-1]))
    rest = percent(1 - row / len(run))
    step = f"{int(run.step[row]):,}"
    evidence = (
        Evidence(
            f"{PLATEAU} with mode 'max' and patience {settings.patience}, replayed on {held.metric}, gives the LR of each "
            f"batch and all {plural(len(held.cuts), 'cut')} of it: no value was above the first one",
            "lr",
        ),
        Evidence(f"{held.metric} fell from {first} to {last} until step {step}: for a loss that is progress"),
        Evidence(
            f"from there on, {rest} of the training, the LR is {number(float(rate[row]))} and less", "lr", (row, len(run))
        ),
    )
    return Finding(
        cause, "fault", "likely", "The scheduler waits for a loss to rise",
        f"The scheduler has mode 'max' and follows {held.metric}, which fell from {first} to {last} and should: each "
        f"validation counted as one without progress, and the LR was cut {plural(len(held.cuts), 'time')}, from "
        f"{number(float(rate[0]))} to {number(float(rate[-1]))}.",
        detail="too_eager", score=0.8, steps=tuple(int(run.step[int(held.rows[k])]) for k in held.cuts[:50]),
        explains_jump=False, evidence=evidence,
        against=(Evidence("a metric that was never better than at first makes the same cuts; no accuracy does that here"),),
        advice="Mode 'min' for a loss; 'max' is for an accuracy. Then train again from before the first cut.",
        fix=f"scheduler = torch.optim.lr_scheduler.{PLATEAU}(\n    optimizer, mode='min', factor={settings.factor:g}, "
        f"patience={settings.patience}, threshold={settings.threshold:g}\n)   # mode was 'max'",
        confirm="Print what `scheduler.step` is given beside `scheduler.best`: the first stays below the second.",
    )  # fmt: skip
