"""Whether what was read as the input of the model is the state that a recurrent net carries from batch to batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tb_losslens.analysis.stats import median
from tb_losslens.store.run import Run, RunEvent

FACT = "input_is_state"
"""Fact of a run from which it was taken out: the state is carried on, though nobody told its norm."""

_READ = ("input_", "sample_level_")
"""How the names begin of what is read off the input of the model."""


def without_state(run: Run) -> Run:
    """`run` without what was read off the inputs, if that is the state of the net; else `run` itself.

    A net that is given tokens has its state for the first floating input. The state is no data: it moves as the net learns.
    """
    if not _is_state(run):
        return run
    return replace(
        run,
        columns={name: values for name, values in run.columns.items() if not name.startswith(_READ)},
        ragged={name: lists for name, lists in run.ragged.items() if not name.startswith(_READ)},
        events=tuple(_without_inputs(event) for event in run.events),
        facts={**run.facts, FACT: True},
    )


def _is_state(run: Run, *, same: float = 1e-3, part: float = 0.95, least: int = 5) -> bool:
    """True for inputs with the norm that the state is known to have, or which a recurrent net begins without or with as zeros.

    The squares of n numbers have the sum n (mean^2 + standard deviation^2): where the norm that the user gave of the state is
    that in nearly every batch, with one n, they are the same numbers. So they are where they are missing in just the batches of
    which no state is given. A batch of data that holds nothing but zeros is none, and
    the first batch has data as the others have.

    Args:
        run: the run.
        same: by what part n may differ.
        part: of the batches in which it must be so.
        least: such batches.
    """
    if not run.has("input_mean") or run.facts.get("inputs_of_loader"):
        return False
    mean, std, norm = (run.float(name) for name in ("input_mean", "input_std", "hidden_norm"))
    known = np.flatnonzero(np.isfinite(mean) & np.isfinite(std))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        size = mean[known] ** 2 + std[known] ** 2
        count = norm[known] ** 2 / size
    count = count[np.isfinite(count) & (size > 0)]
    if len(count) >= least and float((np.abs(count - median(count)) <= same * median(count)).mean()) >= part:
        return True
    read = run.float("dense") != 0  # where that is not known as well
    given, there = np.isfinite(norm), np.isfinite(mean)
    if len(known) >= least and not given.all() and (there == given)[read].all() and not there[read].all():
        return True  # wherever no state is given there is no input either
    model = run.facts.get("model")
    if not isinstance(model, Mapping) or not model.get("recurrent") or len(known) < least or float((size > 0).mean()) < 0.5:
        return False
    watched = run.float("grad_norm" if run.has("grad_norm") else "train_mode")
    without = known[0] > 0 and bool(np.isfinite(watched[0]))  # the first batch was read, and had none
    return without or float(size[0]) == 0


def _without_inputs(event: RunEvent) -> RunEvent:
    if not event.kind.startswith("validation") or not any(name.startswith(_READ) for name in event.fields):
        return event
    return replace(event, fields={name: value for name, value in event.fields.items() if not name.startswith(_READ)})
