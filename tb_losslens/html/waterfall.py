"""The parts of a jump as bars that start where the one before ends, down to the jump that they add up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tb_losslens.analysis.text import signed
from tb_losslens.html.adding_up import adding_up
from tb_losslens.html.markup import Markup, tag
from tb_losslens.html.shapes import chart, percent

_ROW = 28.0


def waterfall(parts: Sequence[Mapping[str, Any]]) -> Markup:
    """Bars in the order of `parts`, each `{"label", "value", "kind", "low", "high"}`; the last is the sum and starts at zero.

    An interval is drawn around the end of its bar. One that reaches further than the bars do is cut, and said whole in words.
    """
    texts = adding_up([part["value"] for part in parts])
    spans = []
    total = 0.0
    for place, part in enumerate(parts):
        start = 0.0 if place == len(parts) - 1 else total
        total = start + part["value"]
        spans.append((start, total))
    ends = [end for span in spans for end in span] + [0.0]
    low, high = min(ends), max(ends)
    reach = high - low
    sides = [
        start + part[end] for part, (start, _) in zip(parts, spans, strict=True) for end in ("low", "high") if part.get(end)
    ]
    low, high = (
        min([low, *(max(side, low - reach) for side in sides)]),
        max([high, *(min(side, high + reach) for side in sides)]),
    )
    room = high - low or 1.0

    def at(value: float) -> float:
        return float(100 * (value - low) / room)

    drawn = [tag("line", class_="zero", x1=percent(at(0)), x2=percent(at(0)), y1=0, y2=_ROW * len(parts))]
    for place, (part, (start, end)) in enumerate(zip(parts, spans, strict=True)):
        y = _ROW * place
        left, width = at(min(start, end)), abs(at(end) - at(start))
        drawn.append(tag("text", part["label"], class_="name", x=-10, y=y + 18, text_anchor="end"))
        size = {"x": percent(left), "width": percent(max(width, 0.25)), "y": y + 5, "height": 18}
        drawn.append(tag("rect", tag("title", f"{part['label']}: {texts[place]}"), class_=f"bar k-{part['kind']}", **size))
        drawn += _whisker(part, at, start, y + 14)
        if place < len(parts) - 1:
            drawn.append(tag("line", class_="step", x1=percent(at(end)), x2=percent(at(end)), y1=y + 5, y2=y + _ROW + 5))
        drawn.append(tag("text", texts[place], class_="value", x="100%", dx=12, y=y + 18))
        if part.get("low") is not None:
            span = f"{signed(part['low'])} to {signed(part['high'])}"
            drawn.append(tag("text", span, class_="span", x="100%", dx=66, y=y + 18))
    name = "Parts of the jump: " + ", ".join(f"{part['label']} {text}" for part, text in zip(parts, texts, strict=True))
    return chart(
        drawn,
        height=_ROW * len(parts),
        name=name,
        class_="waterfall with" if any(part.get("low") is not None for part in parts) else "waterfall",
    )


def _whisker(part: Mapping[str, Any], at: Callable[[float], float], start: float, y: float) -> list[Markup]:
    """The interval of a part as a line, with an end where it is not cut."""
    if part.get("low") is None:
        return []
    ends = [at(start + part["low"]), at(start + part["high"])]
    inside = [min(max(end, 0.0), 100.0) for end in ends]
    out = [tag("line", class_="whisker", x1=percent(inside[0]), x2=percent(inside[1]), y1=y, y2=y)]
    for end, shown in zip(ends, inside, strict=True):
        if end == shown:
            out.append(tag("line", class_="whisker", x1=percent(end), x2=percent(end), y1=y - 4, y2=y + 4))
    return out
