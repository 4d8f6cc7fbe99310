"""One boundary as a chart: the batches on both sides, their levels, the band that noise fills, and what moved beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.finding import Boundary, Diagnosis
from tb_losslens.analysis.text import number, signed
from tb_losslens.analysis.unlogged import unlogged
from tb_losslens.html.markup import Markup, tag
from tb_losslens.html.scale import Floats, Scale, scale_of
from tb_losslens.html.shapes import WIDTH, chart, line, percent, stretched, y_axis
from tb_losslens.store.run import Run

Flags = NDArray[np.bool_]
_HEIGHT = 190.0
_LANE = 40.0


def worst(diagnosis: Diagnosis) -> Boundary | None:
    """The boundary that is drawn: the largest |z| of those where the first finding acts, else of all; None without any."""
    measured = [b for b in diagnosis.boundaries if math.isfinite(b.jump) and not b.unmeasured]
    named = set(diagnosis.findings[0].boundaries) if diagnosis.findings else set()
    among = [b for b in measured if b.index in named] or measured
    return max(among, key=lambda b: abs(b.z) if math.isfinite(b.z) else -1.0, default=None)


def draw_step(run: Run, row: int, kind: str, *, side: int = 30) -> Markup:
    """The batches around row `row`, where a finding begins that acts at no boundary."""
    first, last = max(0, row - side), min(len(run), row + side)
    loss, offset = run.loss[first:last], np.arange(first, last) - row
    scale = scale_of(loss, _HEIGHT)
    drawn = y_axis(scale)
    middle = percent(50)
    drawn.append(tag("line", class_=f"cut k-{kind}", x1=middle, x2=middle, y1=-4, y2=_HEIGHT))
    drawn += _dots(
        loss, (offset + side + 0.5) / (2 * side) * 100, run.step[first:last].tolist(), scale, ~unlogged(run)[first:last]
    )
    drawn += _x_axis(side, _HEIGHT, f"step {int(run.step[row]):,}")
    return chart(drawn, height=_HEIGHT + 24, name=f"Loss around step {int(run.step[row])}", class_="lens inside")


def draw(body: dict[str, Any], *, lanes: int = 4) -> Markup:
    """The answer of `analysis.lens` as a chart: the loss, and below it the signals that moved, at most `lanes`."""
    boundary = body["boundary"]
    offset, _, step, values = body["columns"]
    loss = _floats(values)
    x = np.asarray(offset, dtype=np.float64)
    side = body["m"]
    before = boundary["before"]
    low, high = (
        before + body["placebo"][end] if None not in (before, body["placebo"][end]) else None for end in ("low", "high")
    )
    extra = np.array([v for v in (low, high) if v is not None and _in_reach(v, loss)])
    scale = scale_of(loss, _HEIGHT, low=np.append(loss, extra), high=np.append(loss, extra))
    kind = boundary["kind"]

    def place(at: Floats | float) -> Any:
        return (np.asarray(at) + side + 0.5) / (2 * side) * 100

    drawn: list[Markup] = []
    if low is not None and high is not None:
        top, bottom = float(scale.at(high)), float(scale.at(low))
        drawn.append(tag("rect", class_="placebo", x="0", width="100%", y=top, height=max(1.0, bottom - top)))
    drawn += y_axis(scale)
    middle = percent(50)
    drawn.append(tag("line", class_=f"cut k-{kind}", x1=middle, x2=middle, y1=-4, y2=_HEIGHT))
    logged = ~np.isin(np.asarray(body["columns"][1]), body["unlogged"])
    drawn += _dots(loss, place(x), step, scale, logged)
    drawn += _levels(boundary, scale, side)
    moved = [signal for signal in body["signals"] if signal["moved"]][:lanes]
    drawn += _x_axis(side, _HEIGHT)
    at = _HEIGHT + 30
    for signal in moved:
        drawn += _lane(signal, at, place)
        at += _LANE
    name = f"Loss around boundary {boundary['index'] + 1}, {side} batches a side"
    return chart(drawn, height=at if moved else at - 6, name=name, class_="lens")


def _dots(loss: Floats, x: Floats, step: Sequence[int], scale: Scale, logged: Flags) -> list[Markup]:
    """A dot for each loss, and a tick at the top where it was logged and is not finite; `x` in percent."""
    out = []
    for at, value, name, known in zip(x.tolist(), loss.tolist(), step, logged.tolist(), strict=True):
        if math.isfinite(value):
            title = tag("title", f"step {name:,}: {number(value)}")
            out.append(tag("circle", title, class_="dot", cx=percent(at), cy=float(scale.at(value)), r=2.6))
        elif known:
            out.append(tag("line", class_="bad", x1=percent(at), x2=percent(at), y1=0, y2=9))
    return out


def _levels(boundary: dict[str, Any], scale: Scale, side: int) -> list[Markup]:
    """The two levels as lines over the batches that they are the means of, and the jump between them."""
    m, before, after = min(boundary["m"], side), boundary["before"], boundary["after"]
    if before is None or after is None:
        return []
    half = 50 * m / side
    y0, y1 = float(scale.at(before)), float(scale.at(after))
    x = percent(50 + half)
    return [
        tag("line", class_="level", x1=percent(50 - half), x2=percent(50), y1=y0, y2=y0),
        tag("line", class_="level", x1=percent(50), x2=x, y1=y1, y2=y1),
        tag("line", class_=f"jump k-{boundary['kind']}", x1=x, x2=x, y1=y0, y2=y1),
        tag("text", signed(boundary["jump"]), class_=f"amount k-{boundary['kind']}", x="100%", dx=8, y=(y0 + y1) / 2 + 5),
    ]


def _x_axis(side: int, y: float, middle: str = "boundary") -> list[Markup]:
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200) if side / s <= 3)
    out = []
    for k in range(-(side // step), side // step + 1):
        at = percent(50 + 50 * k * step / side)
        text = middle if k == 0 else f"{k * step:+d}".replace("-", "\u2212")
        out.append(tag("text", text, class_="tick", x=at, y=y + 17, text_anchor="middle"))
    return out


def _lane(signal: dict[str, Any], top: float, place: Any) -> list[Markup]:
    """One signal that moved: its line, what it is called before it, and what it did below it."""
    values = _floats(signal["value"])
    x = place(np.asarray(signal["offset"], dtype=np.float64)) / 100 * WIDTH
    known = np.isfinite(values)
    scale = scale_of(values, 22.0)
    path = tag("path", class_="moved", d=line(x[known], scale.at(values[known]) + 2))
    return [
        tag("text", signal["label"], class_="tick", x=0, y=top + 10),
        tag("text", signal["said"], class_="said", x="100%", y=top + 10, text_anchor="end"),
        tag("svg", stretched(path, height=26), y=top + 12, width="100%", height=26),
    ]


def _in_reach(value: float, loss: Floats) -> bool:
    """True if an edge of the band lies so near to the loss that it is drawn whole."""
    known = loss[np.isfinite(loss)]
    if not len(known):
        return False
    low, high = float(known.min()), float(known.max())
    return low - (high - low) <= value <= high + (high - low)


def _floats(values: list[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
