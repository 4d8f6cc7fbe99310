"""What the probe measured: the loss of the same batch at several moments, in evaluation mode and on its own statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tb_losslens.analysis.once import once_a_run
from tb_losslens.store.run import Run

Looks = Mapping[str, Mapping[str, Any]]
"""The fields of the probe's events before one row, by their `when`."""


@dataclass(frozen=True)
class Pair:
    """The loss of one fixed batch at one moment: in evaluation mode, and with BatchNorm on the statistics of the batch."""

    eval: float
    batch: float


@once_a_run
def looks(run: Run) -> Mapping[int, Looks]:
    """All that the probe measured, by the row before which it looked."""
    found: dict[int, dict[str, Mapping[str, Any]]] = {}
    for event in run.events:
        if event.kind == "probe":
            found.setdefault(event.batch, {})[str(event.fields.get("when"))] = event.fields
    return found


def pair(fields: Mapping[str, Any], name: str) -> Pair | None:
    """The two losses of batch `name` ("train" or "heldout"); None unless both are known and finite."""
    values = [fields.get(f"{name}_{mode}") for mode in ("eval", "batchstat")]
    if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return Pair(float(values[0] or 0.0), float(values[1] or 0.0))
    return None


def moves(run: Run, rows: Sequence[int], *, first: str = "t0", last: str = "t1") -> list[float]:
    """By how much the loss of the training batch changes at each of `rows` from one look to another one.

    On the statistics of the batch, as in training, or in evaluation mode where the batch has none. Only rows with both looks.
    """
    out = []
    for row in rows:
        seen = looks(run).get(row, {})
        for mode in ("batchstat", "eval"):
            values = [seen.get(when, {}).get(f"train_{mode}") for when in (first, last)]
            if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
                out.append(float(values[1] or 0.0) - float(values[0] or 0.0))
                break
    return out
