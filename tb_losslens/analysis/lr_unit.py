"""Answers whether a scheduler that was set up in epochs counts batches: its LR then falls and rises many times too often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence, Finding
from tb_losslens.analysis.lr_steps import filled
from tb_losslens.analysis.stats import finite, mean
from tb_losslens.analysis.text import number, plural
from tb_losslens.store.run import Epoch

COSINE = "CosineAnnealingLR"
"""Goes up again by its own formula once it has counted beyond `T_max`; no other scheduler that falls does."""


@dataclass(frozen=True)
class WrongUnit:
    """A cosine that is over before it should be.

    Attributes:
        length: steps after which it was to end.
        each_epoch: steps that it counts in an epoch.
        turn: row at which its LR turns upwards for the first time.
        turns: ends of a cosine in the run.
        meant: epochs that `length` is if it is meant in epochs, as far as the run is known to have just as many; else 0.
    """

    length: int
    each_epoch: int
    turn: int
    turns: int
    meant: int


def wrong_unit(
    context: Context, *, most_of_epoch: float = 0.5, least_turns: int = 2, least_batches: int = 10
) -> WrongUnit | None:
    """The wrong unit of the declared scheduler; None where there is no sign of one.

    A cosine of at most `most_of_epoch` of an epoch comes down twice and more in each: nobody calls that annealing. One of as
    many steps as the run has epochs is as certain, if it turned `least_turns` times. One that is stepped once an epoch is in
    its unit, however long the run goes on.
    """
    scheduler = context.run.facts.get("scheduler")
    if not isinstance(scheduler, Mapping) or scheduler.get("class") != COSINE:
        return None
    length = scheduler.get("T_max")
    whole = [epoch for epoch in context.epochs if epoch.fields.get("complete")]
    counted = steps_counted(whole)
    if not isinstance(length, int) or length < 1 or not counted:
        return None
    each, batches = int(np.median(counted)), int(np.median([len(epoch) for epoch in whole]))
    if batches < least_batches or not 0.9 * batches <= each <= 1.1 * batches:
        return None
    short = length <= most_of_epoch * batches
    meant = length if length == len(context.epochs) else 0
    turns = len(context.run) // length
    if not (short or meant) or turns < least_turns:
        return None
    return WrongUnit(length, each, context.epochs[0].first + length, turns, meant)


def unit_finding(context: Context, wrong: WrongUnit, cause: str) -> Finding:
    """What is said of it, in the name of `cause`."""
    run = context.run
    lr = finite(filled(run.float("lr")))
    begin, low = float(lr[0]), float(lr.min())
    span = (context.epochs[0].first, min(len(run), context.epochs[0].first + 4 * wrong.length))
    turn = int(run.step[min(wrong.turn, len(run) - 1)])
    evidence = [
        Evidence(f"{COSINE} was made with T_max {wrong.length:,}, and counts {wrong.each_epoch:,} steps in each epoch"),
        Evidence(f"the LR falls from {number(begin)} to {number(low)} within {plural(wrong.length, 'batch')}", "lr", span),
        Evidence(f"it turns {wrong.turns:,} times in the run, first at step {turn:,}", "lr"),
    ]
    if wrong.meant:
        evidence.append(Evidence(f"T_max is the number of epochs of this run, {wrong.meant}"))
    follows, against = _effect(context)
    evidence += follows
    batches = wrong.each_epoch
    epochs = wrong.meant or len(context.epochs)
    return Finding(
        cause, "fault", "likely", "Scheduler steps in the wrong unit",
        f"{COSINE} is stepped once a batch, with a T_max of {wrong.length:,}: the learning rate is down after "
        f"{plural(wrong.length, 'batch')} and rises again, {wrong.turns:,} times in {plural(len(context.epochs), 'epoch')}.",
        detail="stepping_unit", score=0.7, steps=(turn,), explains_jump=False,
        evidence=tuple(evidence), against=tuple(against),
        advice="Step the scheduler in the unit that its length is given in: once an epoch, or with the length in batches.",
        fix=(
            f"scheduler = torch.optim.lr_scheduler.{COSINE}(optimizer, T_max={epochs} * {batches})   # batches of the run\n"
            f"# or keep T_max={wrong.length} and move scheduler.step() out of the loop over batches"
        ),
        confirm="Plot the LR over the whole run: it must come down once.",
    )  # fmt: skip


def steps_counted(epochs: list[Epoch]) -> list[int]:
    """Steps that the only scheduler of the only optimiser counts from the begin of one epoch to the begin of the next."""
    counts = [_count(epoch.fields) for epoch in epochs]
    return [b - a for a, b in pairwise(counts) if a is not None and b is not None and b > a]


def _count(fields: Mapping[str, Any]) -> int | None:
    schedule = fields.get("schedule")
    one = schedule[0] if isinstance(schedule, list) and len(schedule) == 1 else None
    steps = one.get("steps") if isinstance(one, Mapping) else None
    return steps[0] if isinstance(steps, list) and len(steps) == 1 and isinstance(steps[0], int) else None


def _effect(context: Context, *, part: float = 0.25, sure: float = 4.0) -> tuple[list[Evidence], list[Evidence]]:
    """Whether the loss is higher in the batches of the highest LRs than in those of the lowest, epoch by epoch."""
    lr, loss = filled(context.run.float("lr")), context.run.loss
    differences = []
    for epoch in context.epochs[1:]:
        rows = np.arange(epoch.first, epoch.last)
        rows = rows[np.isfinite(loss[rows] + lr[rows])]
        size = int(part * len(rows))
        if size:
            order = rows[np.argsort(lr[rows], kind="stable")]
            differences.append(mean(loss[order[-size:]]) - mean(loss[order[:size]]))
    if len(differences) < 2:
        return [], []
    level, spread = float(np.mean(differences)), float(np.std(differences, ddof=1)) / len(differences) ** 0.5
    if level > sure * spread:
        return [Evidence(f"the loss is {number(level, 2)} higher while the LR is high than while it is low", "loss")], []
    return [], [Evidence("the loss is no higher while the LR is high than while it is low", "loss")]
