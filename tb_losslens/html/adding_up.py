"""Writes the parts of a sum, and the sum, with equal decimals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tb_losslens.analysis.text import signed


def adding_up(values: Sequence[float]) -> list[str]:
    """The parts of a sum and, last, the sum, as they are written.

    The parts as written add up to the sum as written: where rounding would leave a difference, the parts that were rounded most
    take it. A sum that does not hold is written as it is. Numbers that need an exponent are each written by themselves.
    """
    largest = max(map(abs, values), default=0.0)
    if not 1e-4 <= largest < 1e4:
        return [signed(value) for value in values]
    decimals = max(0, 1 - math.floor(math.log10(largest)))
    if decimals < 2 and any(0.05 * 10.0**-decimals <= abs(value) < 0.5 * 10.0**-decimals for value in values):
        decimals += 1  # which shows a part that would else be rounded to nothing
    unit = 10.0**-decimals
    exact = [value / unit for value in values]
    whole = [round(value) for value in exact]
    rest = whole[-1] - sum(whole[:-1])
    if abs(rest) <= len(values) - 1:
        for _ in range(abs(rest)):
            way = 1 if rest > 0 else -1
            most = max(range(len(values) - 1), key=lambda k: way * (exact[k] - whole[k]))
            whole[most] += way
    return [_fixed(units * unit, decimals) for units in whole]


def _fixed(value: float, decimals: int) -> str:
    text = f"{abs(value):,.{decimals}f}"
    return text if float(text.replace(",", "")) == 0 else f"{'+' if value > 0 else chr(0x2212)}{text}"
