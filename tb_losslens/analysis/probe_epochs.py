"""What the probe says over all epochs: whether the loss of training samples falls against that of held-out ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.probe_looks import looks
from tb_losslens.analysis.text import number
from tb_losslens.store.run import Run

_FEWEST = 3
"""Epochs of which the probe must have seen the end."""


@dataclass(frozen=True)
class Apart:
    """The loss of the two batches at the end of the first epoch that was looked at, and at that of the last one.

    Attributes:
        apart: that of the training batch falls, and that of the held-out batch does not go along.
        evidence: the numbers.
    """

    apart: bool
    evidence: Evidence


def train_against_heldout(run: Run, *, part: float = 0.5) -> Apart | None:
    """Compares the two, in evaluation mode; None where the probe did not look at both at three ends of epochs or more.

    Args:
        run: the run.
        part: of the fall of the training batch up to which the held-out one does not go along.
    """
    ends = [fields["t0"] for _, fields in sorted(looks(run).items()) if "t0" in fields]
    known = [pair for one in ends if (pair := _pair(one)) is not None]
    if len(known) < _FEWEST:
        return None
    (first, held_first), (last, held_last) = known[0], known[-1]
    said = (
        f"by experiment, from the first to the last epoch: the loss of the same training batch goes from {number(first)} to "
        f"{number(last)}, that of the same held-out batch from {number(held_first)} to {number(held_last)}"
    )
    fall = first - last
    return Apart(fall > 0 and held_first - held_last < part * fall, Evidence(said))


def _pair(fields: Mapping[str, Any]) -> tuple[float, float] | None:
    values = [fields.get(f"{name}_eval") for name in ("train", "heldout")]
    found = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return (found[0], found[1]) if len(found) == len(values) else None
