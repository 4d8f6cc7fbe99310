"""One part of a jump, as those who estimate one hand it over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tb_losslens.analysis.resample import Draws
from tb_losslens.analysis.stats import Floats


@dataclass(frozen=True)
class Part:
    """One part of a jump: its value in units of the loss, or None; what it rests on, or why there is none; and its draws."""

    value: float | None
    note: str = ""
    draws: Callable[[Draws], Floats] | None = None
