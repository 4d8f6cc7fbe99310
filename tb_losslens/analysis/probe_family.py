"""Which side a jump comes from, by experiment: the state of the model, the data or the logger, or the next updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tb_losslens.analysis.explain import typical_excess
from tb_losslens.analysis.finding import Boundary, Evidence
from tb_losslens.analysis.probe_looks import looks
from tb_losslens.analysis.stats import median
from tb_losslens.analysis.text import percent, plural, signed
from tb_losslens.store.run import Run

Side = Literal["state", "updates", "stream"]

_UPDATES = 5
"""The last look into an epoch comes after so many updates; each of them may take several batches."""


@dataclass(frozen=True)
class Family:
    """What the probe says of a jump.

    Attributes:
        side: "state" if the loss of the same batch changes without an update, "updates" if it changes with the first ones of
            the epoch, "stream" if the first batch has made the jump and it has not: other samples came, or another number was
            logged.
        said: it in one sentence, for a summary.
        evidence: the numbers.
    """

    side: Side
    said: str
    evidence: Evidence


_SAID: dict[Side, str] = {
    "state": "By experiment it is in the state of the model: the same batch has another loss before any update",
    "updates": "By experiment it is in the first updates of the epoch: the same batch has another loss only after them",
    "stream": "By experiment it is in the data or the logger: the same batch keeps its loss across the boundary",
}
_NEXT: dict[Side, str] = {
    "state": "Look at what runs between the epochs: the mode, averaged weights, BatchNorm, a state that is loaded.",
    "updates": "Look at the first steps of the epoch: the LR, the state of the optimiser, clipping, gradients left over.",
    "stream": "Look at the loader and at the line that logs: which samples come first, with which transform and labels; "
    "whether the number is a mean that starts anew.",
}


def family(run: Run, boundaries: Sequence[Boundary], *, most: float = 0.5, none: float = 0.15) -> Family | None:
    """The side that the jump at `boundaries` comes from; None without a probe there, or where it is not clear.

    The first batch of an epoch is trained on before any of its updates: where its loss has made the jump already, and the
    same batch as ever has the loss that it had, other samples came or another number was logged.

    Args:
        run: the run.
        boundaries: where the loss jumps, in one direction.
        most: part of the jump that a change must reach to be why.
        none: part of it up to which a change counts as none.
    """
    level = typical_excess(boundaries)
    if not math.isfinite(level) or level == 0:
        return None
    looked = [(boundary, change) for boundary in boundaries if (change := _changes(run, boundary.batch)) is not None]
    if not looked:
        return None
    still = median(np.array([change.still for _, change in looked]))
    moved = median(np.array([change.moved for _, change in looked]))  # NaN where the looks after updates were left out
    first = median(np.array([run.loss[boundary.batch] - boundary.before for boundary, _ in looked]))
    side: Side
    if still / level >= most:
        side, part = "state", still / level
    elif abs(still / level) > none:
        return None
    elif first / level >= most:
        side, part = "stream", first / level
    elif moved / level >= most:
        side, part = "updates", moved / level
    else:
        return None
    said = (
        f"by experiment ({plural(len(looked), 'boundary')}), the loss of the same training batch moves by {signed(still)} from "
        "the end of an epoch to the begin of the next, without an update; "
    )
    if side == "updates":
        said += f"with the first updates it moves by {signed(moved)}, "
    elif side == "stream":
        said += f"the first batch, before any update, lies {signed(first)} from the level before, "
    said += f"{percent(float(np.clip(part, 0.0, 1.0)))} of the jump of {signed(level)}"
    return Family(side, _SAID[side], Evidence(said))


def advice(side: Side) -> str:
    """Where to look, on that side."""
    return _NEXT[side]


@dataclass(frozen=True)
class _Change:
    """Change of the loss of the training batch without an update, and by the first updates; NaN where that is unknown."""

    still: float
    moved: float


def _changes(run: Run, row: int) -> _Change | None:
    """What the probe saw around `row`; None unless it looked before and after the boundary."""
    seen = looks(run)
    here = seen.get(row, {})
    ahead = (seen.get(at, {}).items() for at in range(row, row + 4 * _UPDATES))
    later = {when: fields for found in ahead for when, fields in found if when.startswith("u")}
    for mode in ("train_batchstat", "train_eval"):
        begin, end = (_number(here.get(when, {}).get(mode)) for when in ("t0", "t1"))
        last = next((_number(later[when].get(mode)) for when in ("u5", "u2", "u1") if when in later), math.nan)
        if math.isfinite(begin) and math.isfinite(end):
            return _Change(end - begin, last - end)
    return None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan
