"""What is measured at an epoch boundary, and of all boundaries together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Literal

UNCLEAR = 3.0
"""A jump of more noises than this is not called noise, though it takes more than this to be counted as a jump."""

Shape = Literal["none", "spike", "step_up", "step_down", "transient", "sawtooth", "staircase", "divergence"]


@dataclass(frozen=True)
class Boundary:
    """The end of one epoch and the start of the next, with the jump of the loss there.

    `jump` is the level of the raw loss over `m` batches after the cut less the level over `m` batches before it, in
    units of the loss. `z` is its distance from the local placebos in their own robust standard deviations. Both are
    NaN where too few batches lie around the boundary.

    Attributes:
        index: position in `Diagnosis.boundaries`.
        batch: row of the first batch after the cut.
        step: the user's own step of that row.
        epoch: epoch that begins there.
        m: batches a side.
        before, after: the two levels.
        z_by_m: z at each window size, keyed by m.
        significant: at least two window sizes agree that this jump is more than noise, judged alone.
        placebo_low, placebo_high: 95 % of cuts that are no boundary lie between (units of the loss).
        placebo_median, placebo_count: their median and how many there are.
        log_scale: true if z was computed on log loss (the level changes more than twofold nearby).
        shape: what the move looks like; "staircase" and "sawtooth" are patterns over all boundaries of a run.
        recovery: batches until a transient is back, None for any other shape.
        kind: kind of the finding that explains it best; "unknown" for a significant jump that nothing explains;
            "none" for a jump within noise.
        cause: id of that finding, or "".
        unmeasured: a few words on why its jump cannot be judged, "" where it can; its kind is then "none".
    """

    index: int
    batch: int
    step: int
    epoch: int
    m: int
    before: float
    after: float
    jump: float
    z: float
    z_by_m: Mapping[int, float] = field(default_factory=dict)
    significant: bool = False
    placebo_low: float = math.nan
    placebo_high: float = math.nan
    placebo_median: float = math.nan
    placebo_count: int = 0
    log_scale: bool = False
    shape: Shape = "none"
    recovery: int | None = None
    kind: str = "none"
    cause: str = ""
    unmeasured: str = ""

    def because(self, unmeasured: str) -> Boundary:
        """The same with `unmeasured`; as `replace` makes it, in a third of the time: a run may have a million of them."""
        if unmeasured == self.unmeasured:
            return self
        values: dict[str, Any] = dict(zip(_FIELDS, _VALUES(self), strict=True))
        return Boundary(**{**values, "unmeasured": unmeasured})

    @property
    def unclear(self) -> bool:
        """True for a jump that no finding names, that is not counted as one, and is more than `UNCLEAR` noises large."""
        return self.kind == "none" and not self.unmeasured and abs(self.z) > UNCLEAR

    def to_dict(self) -> dict[str, Any]:
        """JSON form; numbers that are not finite become None."""
        out: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "index",
                "batch",
                "step",
                "epoch",
                "m",
                "significant",
                "log_scale",
                "shape",
                "recovery",
                "kind",
                "cause",
                "unmeasured",
            )
        }
        for name in ("jump", "z", "before", "after", "placebo_low", "placebo_high", "placebo_median"):
            value = float(getattr(self, name))
            out[name] = value if math.isfinite(value) else None
        out["placebo_count"] = self.placebo_count
        out["unclear"] = self.unclear
        return out


_FIELDS = tuple(each.name for each in fields(Boundary))
_VALUES = attrgetter(*_FIELDS)


@dataclass(frozen=True)
class Pooled:
    """All boundaries of a run taken together.

    Attributes:
        direction: +1 if the loss jumps up at its boundaries, -1 if down, 0 if neither is more than noise.
        up, down, total: boundaries whose jump lies above, below its placebo median, and all that were measured.
        median: median jump in units of the loss; NaN if there is none.
        z: median of the boundaries' z.
        p: two-sided p-value of the signed-rank test on z, at the second-best window size; 1 if there is none.
        reason: why there is no verdict ("fewer than 2 boundaries", ...), else "".
        by_size: there are too few boundaries for a test of their ranks, and `p` is that of their distances from their own
            placebos, added up.
    """

    direction: int = 0
    up: int = 0
    down: int = 0
    total: int = 0
    median: float = math.nan
    z: float = math.nan
    p: float = 1.0
    reason: str = ""
    by_size: bool = False
