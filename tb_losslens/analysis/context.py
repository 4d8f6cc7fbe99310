"""What every cause is given: the run, its boundaries already measured, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.finding import Boundary, Checked, Finding, Pooled, Skipped
from tb_losslens.store.run import Epoch, Run

Outcome = Finding | Checked | Skipped
"""What a cause returns, alone or in a list."""


@dataclass(frozen=True)
class Context:
    """The measurement that all causes start from; made once by the engine.

    Attributes:
        run: the run; where the logged loss turned out to be a running mean, its `loss` is the de-averaged one.
        epochs: `run.epochs`.
        boundaries: one for each pair of neighbouring epochs, in order; `boundaries[k].batch == epochs[k + 1].first`.
        pooled: all boundaries together.
        noise: robust standard deviation of the loss from batch to batch, in units of the loss (1.4826 MAD of first
            differences over sqrt 2); NaN if there are fewer than 3 batches.
        measure: measures any run again with the same rules (for a cause that must ask "and without this?").
        earlier: outcomes of the causes that were decided before, in the engine's order.
    """

    run: Run
    epochs: tuple[Epoch, ...]
    boundaries: tuple[Boundary, ...]
    pooled: Pooled
    noise: float
    measure: Callable[[Run], tuple[tuple[Boundary, ...], Pooled]]
    earlier: tuple[Outcome, ...] = ()

    @cached_property
    def z_by_size(self) -> dict[int, NDArray[np.float64]]:
        """The z of each boundary at each window size, shape (boundaries,); NaN where it was not measured."""
        sizes = {m: None for boundary in self.boundaries for m in boundary.z_by_m}
        return {m: np.array([boundary.z_by_m.get(m, math.nan) for boundary in self.boundaries]) for m in sizes}

    def found(self, cause: str) -> Finding | None:
        """The finding of a cause that was decided earlier, or None."""
        for outcome in self.earlier:
            if isinstance(outcome, Finding) and outcome.cause == cause:
                return outcome
        return None


class Cause(Protocol):
    """A module of `analysis/causes/`.

    `ID` is its name in the catalogue and its file's name. `REQUIRES` are column names of events/columns.py without
    which it cannot be decided at all: where one is missing the engine returns `Skipped` with the line of code that
    records it, and does not call `find`. `find` never raises and is pure; its thresholds are keyword arguments.
    """

    ID: str
    REQUIRES: tuple[str, ...]

    def find(self, context: Context) -> Outcome | list[Outcome]:
        """Decides this cause for one run; the registry `causes.CAUSES` is in the order of decisions."""
        ...
