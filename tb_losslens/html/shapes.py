"""The mark of a kind, one shape and one colour everywhere, and the pieces that every chart is drawn from.

Charts are as wide as the page lets them be: places along the x axis are percentages, places along the y axis pixels, so that
a wider chart has no larger text. A path, which takes no percentages, lies in a drawing of its own that is stretched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.html.markup import Markup, tag
from tb_losslens.html.scale import Scale, tick_labels

Floats = NDArray[np.float64]
WIDTH = 1000.0
"""Units along the x axis of a stretched drawing."""

_OUTLINES = {"fault": "M8 1.5 15.2 14.5H.8Z", "artifact": "M8 .6 15.4 8 8 15.4.6 8Z", "planned": "M2 2h12v12H2Z"}
WORDS = {
    "fault": "fault",
    "benign": "expected",
    "artifact": "artifact of logging",
    "planned": "planned",
    "unknown": "unexplained",
    "none": "within noise",
}


def cause_words(cause: str) -> str:
    """An id of the catalogue in words: `lr_increase` is "LR increase"."""
    words = cause.replace("_", " ")
    return f"LR{words[2:]}" if words.startswith("lr ") else words


def mark(kind: str, size: int = 12, *, named: bool = False) -> Markup:
    """The shape of a kind; `named` says its name to who does not see it."""
    spoken: dict[str, object] = {"role": "img", "aria_label": WORDS.get(kind, kind)} if named else {"aria_hidden": "true"}
    return tag("svg", outline(kind), class_=f"mark k-{kind}", width=size, height=size, viewBox="0 0 16 16", **spoken)


def outline(kind: str) -> list[Markup]:
    """What is inside of `mark`, in a square of 16."""
    if kind in _OUTLINES:
        return [tag("path", d=_OUTLINES[kind])]
    if kind == "unknown":
        hook = "M5.9 6.4a2.1 2.1 0 1 1 3.2 1.7c-.7.5-1.1.8-1.1 1.6"
        ring = tag("circle", class_="ring", cx=8, cy=8, r=7)
        return [ring, tag("path", class_="ring", d=hook), tag("circle", cx=8, cy=11.9, r=0.95)]
    return [tag("circle", cx=8, cy=8, r=6.6 if kind != "none" else 3.5)]


def placed(kind: str, x: float, y: float, size: float, title: str) -> Markup:
    """A mark in a chart, centred `x` percent from the left and `y` pixels from the top."""
    drawn = tag("g", outline(kind), class_=f"mark k-{kind}", transform=f"scale({size / 16:.3f}) translate(-8 -8)")
    return tag("svg", tag("title", title), drawn, x=percent(x), y=y, overflow="visible", width=1, height=1)


def percent(x: float) -> str:
    """A place along the x axis."""
    return f"{x:.2f}%"


def stretched(*children: Markup, height: float) -> Markup:
    """A drawing in which paths have `WIDTH` units along the x axis and pixels along the y axis."""
    return tag("svg", *children, width="100%", height=height, viewBox=f"0 0 {WIDTH:g} {height:g}", preserveAspectRatio="none")


def chart(*children: Markup | list[Markup], height: float, name: str, class_: str = "") -> Markup:
    """A chart of so many pixels; `name` says what it shows to who does not see it."""
    head = {"role": "img", "aria_label": name, "overflow": "visible"}
    return tag("div", tag("svg", *children, width="100%", height=height, **head), class_=f"chart {class_}".strip())


def line(x: Floats, y: Floats) -> str:
    """Path through points, broken where one is not known; `x` in units of a stretched drawing."""
    pieces = []
    for px, py in _unbroken(x, y):
        points = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(px.tolist(), py.tolist(), strict=True))
        pieces.append(f"M{points}" + ("h0" if len(px) == 1 else ""))  # a point by itself shows as its round ends
    return " ".join(pieces)


def band(x: Floats, top: Floats, bottom: Floats) -> str:
    """Outline of what lies between two curves, in so many pieces as they are broken into."""
    pieces = []
    for px, (py, pz) in ((px, both.T) for px, both in _unbroken(x, np.stack([top, bottom], axis=1))):
        there = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(px.tolist(), py.tolist(), strict=True))
        back = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(px[::-1].tolist(), pz[::-1].tolist(), strict=True))
        pieces.append(f"M{there}L{back}Z")
    return " ".join(pieces)


def y_axis(scale: Scale, about: int = 5) -> list[Markup]:
    """Hairlines across the chart, and the numbers left of it."""
    ticks = scale.ticks(about)
    out = []
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        y = float(scale.at(tick))
        out.append(tag("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        out.append(tag("text", label, class_="tick", x=-8, y=y + 4, text_anchor="end"))
    return out


def _unbroken(x: Floats, y: Floats) -> list[tuple[Floats, Floats]]:
    """`x` and `y` (shape (n,) or (n, k)) in pieces between the points that are not finite."""
    known = np.isfinite(y) if y.ndim == 1 else np.isfinite(y).all(axis=1)
    rows = np.flatnonzero(known)
    if not len(rows):
        return []
    pieces = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [(x[piece], y[piece]) for piece in pieces]
